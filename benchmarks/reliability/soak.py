"""Millions of steps in an environment that costs next to nothing: memory, files and threads must not grow."""

import dataclasses
import gc
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import gymnasium
import numpy as np
import torch

import AquaML
from AquaML.environment.base import EnvironmentWrapper, StepResult, TensorDict
from AquaML.environment.spaces import layout_of
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from benchmarks.reliability.process_size import ProcessSize, process_size
from benchmarks.reliability.trend import theil_sen

SAMPLES = 100
WARM_UP = 0.2
"""Share of the samples that come before memory has found its size."""
_POOL = 8


class TickingEnvironment(EnvironmentWrapper):
    """Hands out prepared observations; episodes end by termination and time limit in turn, with figures to log.

    Args:
        num_envs: Number of environments.
        length: Steps of an episode; environment *i* is *i* steps ahead.
    """

    name = "ticking"

    def __init__(self, num_envs: int, length: int = 100) -> None:
        super().__init__()
        self.num_envs = num_envs
        self.max_episode_length = length
        self.observation_layout = layout_of(gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32), "state")
        self.action_layout = layout_of(gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32), "action")
        generator = torch.Generator().manual_seed(0)
        self._pool = [{"state": torch.randn(num_envs, 4, generator=generator)} for _ in range(_POOL)]
        begin = torch.arange(num_envs).unsqueeze(1) % length
        ages = [begin + clock for clock in range(2 * length)]
        done = [age % length == 0 for age in ages]
        by_time = [ended & (age // length % 2 == 0) for age, ended in zip(ages, done)]
        self._flags = [(ended & ~cut, cut) for ended, cut in zip(done, by_time)]
        self._clock = 0

    def reset(self, seed: Optional[int] = None) -> Tuple[TensorDict, Dict[str, Any]]:
        """Return the first prepared observation."""
        self._clock = 0
        return self._pool[0], {"final_obs": None, "valid": None, "log": {}}

    def step(self, actions: Any) -> StepResult:
        """Return the next prepared observation; the reward is higher the smaller the first action."""
        self._clock += 1
        observations = self._pool[self._clock % _POOL]
        terminated, truncated = self._flags[self._clock % len(self._flags)]
        rewards = 1.0 - actions["action"][:, :1].abs()
        infos = {"final_obs": observations, "valid": None, "log": {"reward": rewards}}
        return observations, rewards, terminated, truncated, infos

    def spawn(self, num_envs: int) -> "TickingEnvironment":
        """Make another one."""
        return TickingEnvironment(num_envs, self.max_episode_length or 100)


class SizeWatch(Hook):
    """Measures the process a hundred times in a run.

    Args:
        timesteps: Vector steps of the run.
    """

    def __init__(self, timesteps: int) -> None:
        self._every = max(1, timesteps // SAMPLES)
        self.places: List[int] = []
        self.sizes: List[ProcessSize] = []
        self.files: List[int] = []

    def on_train_start(self, trainer: Any) -> None:
        """Leave what is there already out of the collector's rounds, which then take no time."""
        gc.collect()
        gc.freeze()

    def on_step(self, trainer: Any) -> None:
        """Take a sample if it is time."""
        if trainer.timestep % self._every == 0:
            self.places.append(trainer.statistics.environment_steps)
            self.sizes.append(process_size())
            self.files.append(sum(len(names) for _, _, names in os.walk(str(trainer.run_folder))))


@dataclasses.dataclass
class SoakFigures:
    """What a long run did to the process.

    Attributes:
        environment_steps: Transitions.
        steps_per_second: Transitions in a second of wall time.
        bytes_per_1000_steps: Slope of the resident memory after the warm-up.
        bytes_per_1000_steps_upper_bound: The upper end of its 95 % interval.
        mebibytes_after_warm_up: Resident memory when the warm-up was over.
        mebibytes_at_the_end: Resident memory in the end.
        descriptors: Open files after the warm-up: fewest and most.
        threads: Threads after the warm-up: fewest and most.
        files: Files in the run's folder after the warm-up: fewest and most.
    """

    environment_steps: int
    steps_per_second: float
    bytes_per_1000_steps: float
    bytes_per_1000_steps_upper_bound: float
    mebibytes_after_warm_up: float
    mebibytes_at_the_end: float
    descriptors: List[int]
    threads: List[int]
    files: List[int]


def run(count: int, seed: int, num_envs: int = 64, hooks: Tuple[Hook, ...] = ()) -> SoakFigures:
    """Train for ``count`` environment steps with figures, checkpoints, rotation and evaluations.

    Args:
        count: Environment steps.
        seed: Seed of the run.
        num_envs: Number of environments.
        hooks: Further hooks of the trainer.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    timesteps = max(count // num_envs, SAMPLES)
    watch = SizeWatch(timesteps)
    try:
        with tempfile.TemporaryDirectory() as folder:
            trainer = make_trainer(Path(folder), seed, num_envs, timesteps, (watch,) + hooks)
            began = time.monotonic()
            trainer.train()
            seconds = time.monotonic() - began
    finally:
        gc.unfreeze()
        torch.set_num_threads(threads)
    return summary(watch, trainer.statistics.environment_steps, seconds)


def make_trainer(
    folder: Path, seed: int, num_envs: int, timesteps: int, hooks: Tuple[Hook, ...] = (), **settings: Any
) -> SequentialTrainer:
    """Return a trainer of a small PPO that learns once every 4096 transitions, or every 256 vector steps."""
    AquaML.seed_everything(seed)
    env = TickingEnvironment(num_envs)
    rollouts = min(256, max(1, 4096 // num_envs), timesteps)
    agent = PPO(
        default_models(env.getEnvInfo(), hidden_sizes=(16,)),
        PPOCfg(rollouts=rollouts, mini_batches=2, learning_epochs=2, device="cpu"),
    )
    options: Dict[str, Any] = {
        "timesteps": timesteps,
        "seed": seed,
        "disable_progressbar": True,
        "run_directory": str(folder),
        "log_interval": max(30, timesteps // 10_000),
        "checkpoint_interval": max(200, timesteps // 200),
        "evaluation_interval": max(1000, timesteps // 20),
        "evaluation_episodes": 4,
    }
    options.update(settings)
    return SequentialTrainer(env, agent, TrainerConfig(**options), hooks=hooks)


def summary(watch: SizeWatch, environment_steps: int, seconds: float) -> SoakFigures:
    """Return the figures of the samples after the warm-up."""
    warm = int(len(watch.sizes) * WARM_UP)
    sizes = watch.sizes[warm:]
    memory = [size.resident_bytes for size in sizes]
    slope, bound = theil_sen([place / 1000.0 for place in watch.places[warm:]], memory)
    return SoakFigures(
        environment_steps=environment_steps,
        steps_per_second=round(environment_steps / seconds, 1),
        bytes_per_1000_steps=round(slope, 3),
        bytes_per_1000_steps_upper_bound=round(bound, 3),
        mebibytes_after_warm_up=round(memory[0] / 2.0**20, 2),
        mebibytes_at_the_end=round(memory[-1] / 2.0**20, 2),
        descriptors=_range([size.descriptors for size in sizes]),
        threads=_range([size.threads for size in sizes]),
        files=_range(watch.files[warm:]),
    )


def _range(values: List[int]) -> List[int]:
    return [min(values), max(values)]
