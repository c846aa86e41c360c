"""Robots of one's own: an agent learns on one with random models, ages and delays."""

from typing import Any

import numpy as np
import pytest

from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

pytest.importorskip("mujoco")

from mujoco_robots import Ball

from AquaML.environment.mujoco import Uniform


class Hover(Ball):
    """Hold the ball at its height; the best return is close to 100, falling out of reach ends it after a second."""

    def __init__(self, num_envs: int = 16, **options: Any) -> None:
        super().__init__(num_envs, frame_skip=5, max_episode_steps=100, **options)

    def initial_state(self, rows: np.ndarray, generator: np.random.Generator) -> Any:
        return generator.uniform(-0.5, 0.5, (len(rows), 1)), np.zeros((len(rows), 1))

    def reward(self, actions: np.ndarray) -> np.ndarray:
        return np.exp(-2.0 * np.abs(self.qpos[:, 0]))

    def terminated(self) -> np.ndarray:
        return np.abs(self.qpos[:, 0]) > 5.0


def test_ppo_learns_to_hover() -> None:
    env = Hover(random_initial_length=True, randomization={"body_mass": Uniform(0.9, 1.1)}, action_delay=(0, 1))
    cfg = PPOCfg(rollouts=32, learning_epochs=8, mini_batches=4, learning_rate=1e-3)
    trainer = SequentialTrainer(
        env, PPO(default_models(env.getEnvInfo()), cfg), TrainerConfig(timesteps=1920, seed=0, disable_progressbar=True)
    )
    before = trainer.eval(episodes=16).return_mean
    trainer.train()
    after = trainer.eval(episodes=16).return_mean
    assert before < 30.0 and after > 75.0
