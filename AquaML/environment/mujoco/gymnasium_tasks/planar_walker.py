"""What Hopper-v5 and Walker2d-v5 share: robots in a plane that must stay upright."""

import abc
from typing import Any, Dict

import numpy as np

from AquaML.environment.mujoco.backend import Judgement
from AquaML.environment.mujoco.gymnasium_tasks.task import GymnasiumTask

_FASTEST = 10.0
"""Observed velocities are cut to this, in metres or radians per second."""


class PlanarWalker(GymnasiumTask[Any]):
    """Reward for forward speed and health, cost of actions."""

    @abc.abstractmethod
    def healthy(self) -> np.ndarray:
        """Return whether each robot stands, ``(num_envs,)`` bool."""

    def upright(self) -> np.ndarray:
        """Return whether height and angle of the torso are within their open ranges, ``(num_envs,)`` bool."""
        lowest, highest = self.options.healthy_z_range
        least, most = self.options.healthy_angle_range
        height, angle = self.positions[:, 1], self.positions[:, 2]
        return (lowest < height) & (height < highest) & (least < angle) & (angle < most)

    def remember(self) -> None:
        """Keep the place."""
        self._before = self.positions[:, 0].copy()

    def observe(self) -> np.ndarray:
        """Return positions and limited velocities."""
        skipped = 1 if self.options.exclude_current_positions_from_observation else 0
        return np.concatenate((self.positions[:, skipped:], np.clip(self.velocities, -_FASTEST, _FASTEST)), axis=1)

    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Judge speed, health and effort."""
        options = self.options
        speed = (self.positions[:, 0] - self._before) / self.simulation.time_step
        healthy = self.healthy()
        forward = options.forward_reward_weight * speed
        survive = healthy * options.healthy_reward
        control = options.ctrl_cost_weight * self.squared_actions(native)
        scalars = {
            "x_position": self.positions[:, 0],
            "z_distance_from_origin": self.positions[:, 1] - self.original.positions[1],
            "x_velocity": speed,
            "reward_forward": forward,
            "reward_ctrl": -control,
            "reward_survive": survive,
        }
        terminated = ~healthy & bool(options.terminate_when_unhealthy)
        return (forward + survive) - control, terminated, scalars
