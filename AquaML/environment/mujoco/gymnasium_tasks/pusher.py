"""Pusher-v5: an arm pushes a cylinder to a goal on a table."""

import dataclasses
from typing import Dict, Tuple

import numpy as np

from AquaML.environment.mujoco.backend import Judgement
from AquaML.environment.mujoco.gymnasium_tasks.task import GymnasiumTask

_JOINTS = 7
"""Joints of the arm."""
_NEAREST = 0.17
"""The cylinder starts farther than this from the goal, in metres."""


@dataclasses.dataclass
class PusherOptions:
    """Keyword arguments of Gymnasium's class, by its names; its documentation explains them."""

    reward_near_weight: float
    reward_dist_weight: float
    reward_control_weight: float


class Pusher(GymnasiumTask[PusherOptions]):
    """Cost of the distances from hand to cylinder and from cylinder to goal, and of actions."""

    options_type = PusherOptions

    def prepare(self) -> None:
        """Watch hand, cylinder and goal."""
        places = self.simulation.watch("xpos")
        self._hands, self._objects, self._goals = (
            places[:, self.body(name)] for name in ("tips_arm", "object", "goal")
        )

    def draw_start(self, generator: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
        """Draw places of the cylinder until one is far enough from the goal at (0, 0), then velocities."""
        positions = self.original.positions.copy()
        cylinder = _draw_cylinder(generator)
        while np.linalg.norm(cylinder) <= _NEAREST:
            cylinder = _draw_cylinder(generator)
        positions[-4:-2] = cylinder
        positions[-2:] = 0
        velocities = self.original.velocities + generator.uniform(-0.005, 0.005, self.original.velocities.size)
        velocities[-4:] = 0
        return positions, velocities

    def observe(self) -> np.ndarray:
        """Return the arm's positions and velocities and the places of hand, cylinder and goal."""
        parts = (self.positions[:, :_JOINTS], self.velocities[:, :_JOINTS], self._hands, self._objects, self._goals)
        return np.concatenate(parts, axis=1)

    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Judge both distances and effort."""
        options = self.options
        near = -np.linalg.norm(self._objects - self._hands, axis=1) * options.reward_near_weight
        distance = -np.linalg.norm(self._objects - self._goals, axis=1) * options.reward_dist_weight
        control = -self.squared_actions(native) * options.reward_control_weight
        scalars = {"reward_dist": distance, "reward_ctrl": control, "reward_near": near}
        return distance + control + near, np.zeros(self.num_envs, bool), scalars


def _draw_cylinder(generator: np.random.Generator) -> np.ndarray:
    return np.array([generator.uniform(-0.3, 0), generator.uniform(-0.2, 0.2)])
