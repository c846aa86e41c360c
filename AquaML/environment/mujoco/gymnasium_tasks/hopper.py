"""Hopper-v5: one leg hops forward in a plane."""

import dataclasses
from typing import Tuple

import numpy as np

from AquaML.environment.mujoco.gymnasium_tasks.planar_walker import PlanarWalker


@dataclasses.dataclass
class HopperOptions:
    """Keyword arguments of Gymnasium's class, by its names; its documentation explains them."""

    forward_reward_weight: float
    ctrl_cost_weight: float
    healthy_reward: float
    terminate_when_unhealthy: bool
    healthy_state_range: Tuple[float, float]
    healthy_z_range: Tuple[float, float]
    healthy_angle_range: Tuple[float, float]
    reset_noise_scale: float
    exclude_current_positions_from_observation: bool


class Hopper(PlanarWalker):
    """A planar walker whose other coordinates and velocities must stay in a range, too."""

    options_type = HopperOptions

    def healthy(self) -> np.ndarray:
        """Return whether each robot is upright and everything but its place within the range of states."""
        low, high = self.options.healthy_state_range
        state = np.concatenate((self.positions, self.velocities), axis=1)[:, 2:]
        return self.upright() & ((low < state) & (state < high)).all(axis=1)
