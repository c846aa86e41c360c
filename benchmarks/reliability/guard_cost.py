"""What the guard against NaN and infinity costs: blocks of training with and without it, in turn, in one process."""

import dataclasses
import statistics
import time
from typing import Any, Dict, List

import torch

import AquaML
from AquaML.learning.finite_guard import Numbers
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from benchmarks.free_environment import FreeEnvironment

_OBSERVATION_SIZE, _ACTION_SIZE = 17, 6


class UnguardedSteps:
    """Takes every step of an optimiser."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def begin(self) -> None:
        """Nothing to forget."""

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        return loss

    def step(self, loss: torch.Tensor, gradient_norm: torch.Tensor) -> None:
        """Take the step."""
        self._optimizer.step()

    def faults(self) -> int:
        """Return that there was none."""
        return 0


class UnguardedPPO(PPO):
    """PPO that looks at nothing before it learns."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._step_guard = UnguardedSteps(self.optimizer)  # type: ignore[assignment]

    def _collected(self, *arguments: Any) -> List[Numbers]:
        return []


@dataclasses.dataclass
class GuardCost:
    """Time with the guard divided by time without, minus 1, in per cent: the median over pairs of blocks.

    Attributes:
        pairs: Pairs of blocks.
        percent_256_environments: 32 vector steps in a rollout, 4 minibatches, 5 passes.
        percent_1_environment: 2048 vector steps in a rollout, 32 minibatches, 5 passes.
        percent_1_environment_short_rollouts: 64 vector steps in a rollout, 4 minibatches, 5 passes.
    """

    pairs: int
    percent_256_environments: float
    percent_1_environment: float
    percent_1_environment_short_rollouts: float


def run(count: int, seed: int) -> GuardCost:
    """Measure ``count`` pairs of blocks for each setting."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return GuardCost(
            count,
            measure(count, seed, num_envs=256, rollouts=32, mini_batches=4),
            measure(count, seed, num_envs=1, rollouts=2048, mini_batches=32),
            measure(count, seed, num_envs=1, rollouts=64, mini_batches=4),
        )
    finally:
        torch.set_num_threads(threads)


def measure(pairs: int, seed: int, num_envs: int, rollouts: int, mini_batches: int) -> float:
    """Return the guard's share of the time of a rollout and its update, in per cent."""
    drivers = [_Driver(kind, seed, num_envs, rollouts, mini_batches) for kind in (PPO, UnguardedPPO)]
    blocks = max(1, 1024 // (rollouts * num_envs))
    for driver in drivers:
        driver.train(2)
    ratios = []
    for pair in range(pairs):
        seconds: Dict[int, float] = {}
        # Either of them is first in every second pair.
        for index in (0, 1) if pair % 2 else (1, 0):
            seconds[index] = drivers[index].train(blocks)
        ratios.append(seconds[0] / seconds[1])
    return round(100.0 * (statistics.median(ratios) - 1.0), 2)


class _Driver:
    """An agent and an environment that costs nothing, so that the guard's share is the largest possible."""

    def __init__(self, kind: Any, seed: int, num_envs: int, rollouts: int, mini_batches: int) -> None:
        AquaML.seed_everything(seed)
        self._env = FreeEnvironment(num_envs, _OBSERVATION_SIZE, _ACTION_SIZE)
        models = default_models(self._env.getEnvInfo(), hidden_sizes=(64, 64))
        self._agent = kind(models, PPOCfg(rollouts=rollouts, mini_batches=mini_batches, device="cpu"))
        self._agent.setup(self._env.getEnvInfo())
        self._agent.prepare_training()
        self._states = {name: value.clone() for name, value in self._env.reset()[0].items()}
        self._rollouts = rollouts

    def train(self, blocks: int) -> float:
        """Collect rollouts, learn from each, and return the seconds."""
        agent, env = self._agent, self._env
        began = time.process_time()
        for _ in range(blocks * self._rollouts):
            actions = agent.act(self._states, 0, 1)
            following, rewards, terminated, truncated, infos = env.step(actions)
            agent.record_transition(self._states, actions, rewards, following, terminated, truncated, infos, 0, 1)
            self._states = following
            agent.post_interaction(0, 1)
        return time.process_time() - began
