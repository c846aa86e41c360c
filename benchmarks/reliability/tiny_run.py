"""The smallest real training: PPO with two layers of eight units on two pendulums, an update every fourth step."""

import hashlib
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import AquaML
from AquaML.coordinator.coordinator import Coordinator
from AquaML.coordinator.file_operations import FileOperations
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

ROLLOUT = 4
NAME = "run"


def tiny_trainer(
    root: Path, operations: Optional[FileOperations] = None, hooks: Sequence[Hook] = (), **settings: Any
) -> SequentialTrainer:
    """Make a trainer whose run is called ``run``.

    Args:
        root: Where runs are collected.
        operations: How files are touched; None: as usual.
        hooks: Further hooks.
        settings: Fields of the trainer's configuration.
    """
    AquaML.seed_everything(0)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=2, vectorization="sync")
    models = default_models(env.getEnvInfo(), hidden_sizes=(8, 8))
    agent = PPO(models, PPOCfg(rollouts=ROLLOUT, learning_epochs=1, mini_batches=1, device="cpu"))
    values = {
        "seed": 0,
        "timesteps": 2 * ROLLOUT,
        "run_directory": str(root),
        "run_name": NAME,
        "disable_progressbar": True,
        "tensorboard": False,
        "learning_curve": False,
        "system_monitor": False,
        "checkpoint_interval": 1,
    }
    values.update(settings)
    return SequentialTrainer(
        env, agent, TrainerConfig(**values), coordinator=Coordinator("cpu", operations), hooks=hooks
    )


class SaveAllKinds(Hook):
    """Saves the best and the last checkpoint at every step; the periodic ones come from the interval."""

    def on_step(self, trainer: Any) -> None:
        """Save; the step's number is the score, so that every step is the best one yet."""
        trainer.consider_best(float(trainer.timestep))
        trainer.save_last()


def leftovers(folder: Path) -> List[Path]:
    """Return the temporary files under a folder."""
    return sorted(folder.rglob(".*.tmp"))


def digests(folder: Path) -> Dict[str, str]:
    """Return the SHA-256 of every checkpoint in a folder by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.aqua")}
