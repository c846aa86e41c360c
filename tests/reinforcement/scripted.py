"""Environments with known numbers, and the loop by hand."""

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Type

import gymnasium
import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv, VectorEnv

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.rows import begun_rows, true_successors
from AquaML.learning.model import GaussianModel, Model, ModelCfg, default_models
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.ppo import PPO

AutoresetMode = getattr(gymnasium.vector, "AutoresetMode", None)
MODES = ("own", "next_step", "same_step", "disabled")
Episode = Tuple[Sequence[float], str]
"""Rewards of the steps, and how the last one ends: "terminated", "truncated" or "both"."""


class ScriptedEnv(gymnasium.Env):
    """Plays given episodes over and over; an observation is (steps in the episode, number of the episode)."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, episodes: Sequence[Episode]) -> None:
        self.episodes = episodes
        self.episode = -1
        self.clock = 0

    def _observation(self) -> np.ndarray:
        return np.array([self.clock, self.episode], np.float32)

    def reset(self, *, seed: Optional[int] = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.episode += 1
        self.clock = 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        rewards, ending = self.episodes[self.episode % len(self.episodes)]
        reward = rewards[self.clock]
        self.clock += 1
        last = self.clock == len(rewards)
        return (
            self._observation(),
            reward,
            last and ending in ("terminated", "both"),
            last and ending in ("truncated", "both"),
            {},
        )


class SpaceEnv(gymnasium.Env):
    """Random observations of any space, actions of any space, episodes of a few steps."""

    def __init__(self, observations: gymnasium.Space, actions: gymnasium.Space, limit: int = 5) -> None:
        self.observation_space, self.action_space, self.limit = observations, actions, limit
        self.clock = 0

    def reset(self, *, seed: Optional[int] = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.clock = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.clock += 1
        return self.observation_space.sample(), float(self.np_random.normal()), False, self.clock >= self.limit, {}


class ModalVector(VectorEnv):
    """A vector environment with the autoreset modes of Gymnasium 1.1, for versions before it."""

    def __init__(self, makers: Sequence[Callable[[], gymnasium.Env]], mode: str) -> None:
        self.environments, self.mode, self.num_envs = [make() for make in makers], mode, len(makers)
        self.single_observation_space = self.environments[0].observation_space
        self.single_action_space = self.environments[0].action_space
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, self.num_envs)
        self.metadata: Dict[str, Any] = {}
        self.render_mode = None
        self.closed = False
        self.observations = np.zeros((self.num_envs, 2), np.float32)
        self.ended = np.zeros(self.num_envs, bool)

    def reset(self, *, seed: Optional[int] = None, options: Any = None) -> Any:
        for index in np.flatnonzero((options or {}).get("reset_mask", np.ones(self.num_envs, bool))):
            self.observations[index], _ = self.environments[index].reset()
            self.ended[index] = False
        return self.observations.copy(), {}

    def step(self, actions: Any) -> Any:
        rewards, flags = np.zeros(self.num_envs), np.zeros((2, self.num_envs), bool)
        final = np.full(self.num_envs, None, object)
        for index, environment in enumerate(self.environments):
            if self.mode == "next_step" and self.ended[index]:
                self.observations[index], _ = environment.reset()
                continue
            result = environment.step(actions[index])
            self.observations[index], rewards[index], flags[0, index], flags[1, index], _ = result
            if self.mode == "same_step" and flags[:, index].any():
                final[index] = result[0]
                self.observations[index], _ = environment.reset()
        self.ended = flags.any(0)
        return self.observations.copy(), rewards, flags[0], flags[1], {"final_observation": final}

    def close(self, **arguments: Any) -> None:
        self.closed = True


def wrap(
    mode: str, plans: Sequence[Sequence[Episode]], kind: Type[ScriptedEnv] = ScriptedEnv, **options: Any
) -> GymnasiumWrapper:
    """One environment per plan, reset in the given way."""
    makers: List[Callable[[], gymnasium.Env]] = [lambda plan=plan: kind(plan) for plan in plans]
    if mode == "own":
        remaining = iter(makers)
        return GymnasiumWrapper(lambda: next(remaining)(), num_envs=len(plans), **options)
    if AutoresetMode is None:
        return GymnasiumWrapper(ModalVector(makers, mode), autoreset=mode, **options)
    modes = {
        "next_step": AutoresetMode.NEXT_STEP,
        "same_step": AutoresetMode.SAME_STEP,
        "disabled": AutoresetMode.DISABLED,
    }
    return GymnasiumWrapper(SyncVectorEnv(makers, autoreset_mode=modes[mode]), **options)


class KnownValue(Model):
    """A value function given in closed form; the parameter only gives the optimiser something to hold."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.function = function
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def compute(self, data_dict: torch.Tensor) -> torch.Tensor:
        return self.function(data_dict) + 0.0 * self.weight


class PlainPolicy(GaussianModel):
    """A Gaussian with a constant mean."""

    def __init__(self, size: int = 1) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.mean = torch.nn.Parameter(torch.zeros(size))
        self.log_std_parameter = torch.nn.Parameter(torch.zeros(size))

    def compute(self, data_dict: torch.Tensor) -> torch.Tensor:
        return self.mean.expand(len(data_dict), -1)


def known_agent(function: Callable[[torch.Tensor], torch.Tensor], kind: Any = PPO, **options: Any) -> Any:
    """An agent whose critic is an exact function of the raw observation, in units of reward."""
    settings: Dict[str, Any] = dict(
        observation_normalizer=False, value_normalizer=False, mini_batches=1, device="cpu", **passes(kind, 1)
    )
    settings.update(options)
    return kind({"policy": PlainPolicy(), "value": KnownValue(function)}, kind.config_class(**settings))


def small_agent(env: GymnasiumWrapper, kind: Any = PPO, shared: bool = False, **options: Any) -> Any:
    """An agent with small ready-made networks."""
    settings: Dict[str, Any] = dict(rollouts=8, mini_batches=3, device="cpu", **passes(kind, 2))
    settings.update(options)
    return kind(default_models(env.getEnvInfo(), hidden_sizes=(16,), shared=shared), kind.config_class(**settings))


def passes(kind: Any, number: int) -> Dict[str, int]:
    """The option that says how many passes an update takes, where there is one."""
    return {name: number for name in ("learning_epochs", "value_epochs") if name in kind.config_class.field_names()}


def batch_of(log_prob: List[float], advantages: List[float]) -> Batch:
    rows = len(log_prob)
    zeros = torch.zeros(rows, 1)
    return Batch(
        states={"state": torch.zeros(rows, 2)},
        actions={"action": zeros},
        parameters={"mean_actions": zeros, "log_std": zeros},
        log_prob=torch.tensor(log_prob).reshape(-1, 1),
        values=zeros,
        returns=zeros,
        advantages=torch.tensor(advantages).reshape(-1, 1),
    )


def drive(
    env: GymnasiumWrapper,
    agent: PPO,
    steps: int,
    learn: bool = True,
    spoil: Optional[Callable[[torch.Tensor], torch.Tensor]] = None,
) -> None:
    """The loop by hand.

    ``spoil`` overwrites everything in rows that only reset before the agent sees it.
    """
    agent.setup(env.getEnvInfo())
    agent.prepare_training()
    agent.set_mode(training=True)
    states, _ = env.reset(seed=3)
    only_reset = torch.zeros((env.num_envs, 1), dtype=torch.bool)
    agent.on_reset(~only_reset)

    def spoiled(value: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if spoil is None:
            return value
        mask = rows[:, 0].reshape((-1,) + (1,) * (value.dim() - 1))
        return torch.where(mask, spoil(value), value)

    for step in range(steps):
        states = {name: spoiled(value, only_reset) for name, value in states.items()}
        actions = agent.name_actions(agent.act(states, step, steps))
        harmless = {name: torch.where(only_reset, torch.zeros_like(v), v) for name, v in actions.items()}
        following, rewards, terminated, truncated, infos = env.step(harmless)
        done = terminated | truncated
        if infos["valid"] is not None:
            assert torch.equal(~infos["valid"], only_reset)
        agent.record_transition(
            states,
            {name: spoiled(value, only_reset) for name, value in actions.items()},
            spoiled(rewards, only_reset),
            {n: spoiled(v, only_reset) for n, v in true_successors(following, done, infos["final_obs"]).items()},
            terminated,
            truncated,
            infos,
            step,
            steps,
        )
        agent.on_reset(begun_rows(done, infos["valid"], env.autoreset))
        if learn:
            agent.post_interaction(step, steps)
        states = following
        only_reset = done.clone() if env.has_invalid_rows else torch.zeros_like(done)


def parameters_of(agent: PPO) -> Dict[str, torch.Tensor]:
    """Copies of all weights and statistics."""
    found = {}
    for part in agent.parts:
        if part.role == "weights":
            for name, value in part.stateful.state_dict().items():
                found["{}.{}".format(part.name, name)] = value.clone()
    return found
