"""What a task on a real simulator is, and training on it."""

import dataclasses
import tempfile
import time
from typing import Any, Callable, Dict, Sequence

import AquaML
from AquaML.environment.base import EnvironmentWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import EpisodeSummary, evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig


@dataclasses.dataclass
class Task:
    """A task whose score is known.

    Attributes:
        make: Makes the wrapper; called once, since many simulators allow no second one in a process.
        packages: Names of the packages whose versions are written down.
        timesteps: Vector steps of the training.
        agent: Settings of PPO.
        must: The mean return that must be reached.
        known: Where the known score comes from.
        hidden_sizes: Widths of the networks' hidden layers.
        episodes: Episodes of the evaluation.
    """

    make: Callable[[], EnvironmentWrapper]
    packages: Sequence[str]
    timesteps: int
    agent: Dict[str, Any]
    must: float
    known: str
    hidden_sizes: Sequence[int] = (64, 64)
    episodes: int = 100


@dataclasses.dataclass
class Score:
    """What a training came to.

    Attributes:
        environment_steps: Transitions trained on.
        untrained: Mean return of the policy before training, deterministic.
        trained: Mean return after it, deterministic, of the last networks.
        seconds: Wall time of the training.
        agent: The trained agent.
        env: Where it was trained.
    """

    environment_steps: int
    untrained: float
    trained: float
    seconds: float
    agent: PPO
    env: EnvironmentWrapper


def train(task: Task, seed: int) -> Score:
    """Train PPO on a task.

    Args:
        task: The task.
        seed: Seed of weights, exploration and environments.
    """
    AquaML.seed_everything(seed)
    env = task.make()
    agent = PPO(default_models(env.getEnvInfo(), hidden_sizes=task.hidden_sizes), PPOCfg(device="cpu", **task.agent))
    agent.setup(env.getEnvInfo())
    untrained = score(env, agent, task.episodes)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainerConfig(
            timesteps=task.timesteps, seed=seed, disable_progressbar=True, tensorboard=False, run_directory=folder
        )
        trainer = SequentialTrainer(env, agent, settings)
        began = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - began
    trained = score(env, agent, task.episodes)
    steps = trainer.statistics.environment_steps
    return Score(steps, untrained.return_mean, trained.return_mean, seconds, agent, env)


def score(env: EnvironmentWrapper, agent: PPO, episodes: int) -> EpisodeSummary:
    """Play whole episodes, deterministic, with a fixed seed; in the environments that there are."""
    return evaluate(env, agent, episodes=episodes, seed=10_000)
