"""Walker2d-v5: two legs walk forward in a plane."""

import dataclasses
from typing import Tuple

import numpy as np

from AquaML.environment.mujoco.gymnasium_tasks.planar_walker import PlanarWalker


@dataclasses.dataclass
class Walker2dOptions:
    """Keyword arguments of Gymnasium's class, by its names; its documentation explains them."""

    forward_reward_weight: float
    ctrl_cost_weight: float
    healthy_reward: float
    terminate_when_unhealthy: bool
    healthy_z_range: Tuple[float, float]
    healthy_angle_range: Tuple[float, float]
    reset_noise_scale: float
    exclude_current_positions_from_observation: bool


class Walker2d(PlanarWalker):
    """A planar walker that is healthy while it is upright."""

    options_type = Walker2dOptions

    def healthy(self) -> np.ndarray:
        """Return whether each robot is upright."""
        return self.upright()
