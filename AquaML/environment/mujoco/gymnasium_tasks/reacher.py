"""Reacher-v5: an arm with two joints reaches for a target in a plane."""

import dataclasses
from typing import Dict, Tuple

import numpy as np

from AquaML.environment.mujoco.backend import Judgement
from AquaML.environment.mujoco.gymnasium_tasks.task import GymnasiumTask

_REACH = 0.2
"""Radius in metres of the disc that targets are drawn from."""


@dataclasses.dataclass
class ReacherOptions:
    """Keyword arguments of Gymnasium's class, by its names; its documentation explains them."""

    reward_dist_weight: float
    reward_control_weight: float


class Reacher(GymnasiumTask[ReacherOptions]):
    """Cost of the distance between fingertip and target, and of actions."""

    options_type = ReacherOptions

    def prepare(self) -> None:
        """Watch fingertip and target."""
        places = self.simulation.watch("xpos")
        self._fingertips = places[:, self.body("fingertip")]
        self._targets = places[:, self.body("target")]

    def draw_start(self, generator: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
        """Draw joint angles, then targets until one is within reach, then velocities."""
        original = self.original
        positions = generator.uniform(-0.1, 0.1, original.positions.size) + original.positions
        target = generator.uniform(-_REACH, _REACH, 2)
        while np.linalg.norm(target) >= _REACH:
            target = generator.uniform(-_REACH, _REACH, 2)
        positions[-2:] = target
        velocities = original.velocities + generator.uniform(-0.005, 0.005, original.velocities.size)
        velocities[-2:] = 0
        return positions, velocities

    def observe(self) -> np.ndarray:
        """Return the angles' cosines and sines, the target, joint velocities and the way from target to fingertip."""
        angles = self.positions[:, :2]
        way = (self._fingertips - self._targets)[:, :2]
        parts = (np.cos(angles), np.sin(angles), self.positions[:, 2:], self.velocities[:, :2], way)
        return np.concatenate(parts, axis=1)

    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Judge distance and effort."""
        distance = -np.linalg.norm(self._fingertips - self._targets, axis=1) * self.options.reward_dist_weight
        control = -self.squared_actions(native) * self.options.reward_control_weight
        return distance + control, np.zeros(self.num_envs, bool), {"reward_dist": distance, "reward_ctrl": control}
