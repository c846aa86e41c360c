"""InvertedDoublePendulum-v5: a cart keeps two poles upright, one on top of the other."""

import dataclasses
from typing import Dict

import numpy as np

from AquaML.environment.mujoco.backend import Judgement
from AquaML.environment.mujoco.gymnasium_tasks.task import GymnasiumTask

_LIMIT = 10.0
"""Observed velocities and constraint forces are cut to this."""


@dataclasses.dataclass
class InvertedDoublePendulumOptions:
    """Keyword arguments of Gymnasium's class, by its names; its documentation explains them."""

    healthy_reward: float
    reset_noise_scale: float


class InvertedDoublePendulum(GymnasiumTask[InvertedDoublePendulumOptions]):
    """Reward while the tip is up, cost of its distance from the highest point and of angular velocities."""

    options_type = InvertedDoublePendulumOptions
    normal_velocities = True

    def prepare(self) -> None:
        """Watch the tip and the constraint forces."""
        self._tips = self.simulation.watch("site_xpos")[:, 0]
        self._forces = self.simulation.watch("qfrc_constraint")

    def observe(self) -> np.ndarray:
        """Return the cart's place, sines and cosines of the angles, limited velocities and the cart's force."""
        angles = self.positions[:, 1:]
        velocities = np.clip(self.velocities, -_LIMIT, _LIMIT)
        force = np.clip(self._forces[:, :1], -_LIMIT, _LIMIT)
        return np.concatenate((self.positions[:, :1], np.sin(angles), np.cos(angles), velocities, force), axis=1)

    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Judge the tip's place and the angular velocities."""
        across, height = self._tips[:, 0], self._tips[:, 2]
        terminated = height <= 1
        distance = 0.01 * across**2 + (height - 2) ** 2
        velocity = 0.001 * self.velocities[:, 1] ** 2 + 0.005 * self.velocities[:, 2] ** 2
        survive = self.options.healthy_reward * ~terminated
        scalars = {"reward_survive": survive, "distance_penalty": -distance, "velocity_penalty": -velocity}
        return survive - distance - velocity, terminated, scalars
