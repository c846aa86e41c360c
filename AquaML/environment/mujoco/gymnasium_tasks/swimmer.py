"""Swimmer-v5: a chain of links swims forward in a plane."""

import dataclasses
from typing import Dict

import numpy as np

from AquaML.environment.mujoco.backend import Judgement
from AquaML.environment.mujoco.gymnasium_tasks.task import GymnasiumTask, place_and_speed


@dataclasses.dataclass
class SwimmerOptions:
    """Keyword arguments of Gymnasium's class, by its names; its documentation explains them."""

    forward_reward_weight: float
    ctrl_cost_weight: float
    reset_noise_scale: float
    exclude_current_positions_from_observation: bool


class Swimmer(GymnasiumTask[SwimmerOptions]):
    """Reward for forward speed, cost of actions."""

    options_type = SwimmerOptions

    def remember(self) -> None:
        """Keep the place."""
        self._before = self.positions[:, :2].copy()

    def observe(self) -> np.ndarray:
        """Return positions and velocities."""
        skipped = 2 if self.options.exclude_current_positions_from_observation else 0
        return np.concatenate((self.positions[:, skipped:], self.velocities), axis=1)

    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Judge speed and effort."""
        speed = (self.positions[:, :2] - self._before) / self.simulation.time_step
        forward = self.options.forward_reward_weight * speed[:, 0]
        control = self.options.ctrl_cost_weight * self.squared_actions(native)
        scalars = {
            **place_and_speed(self.positions, speed),
            "reward_forward": forward,
            "reward_ctrl": -control,
        }
        return forward - control, np.zeros(self.num_envs, bool), scalars
