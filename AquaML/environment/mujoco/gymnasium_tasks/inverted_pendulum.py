"""InvertedPendulum-v5: a cart keeps a pole upright."""

import dataclasses
from typing import Dict

import numpy as np

from AquaML.environment.mujoco.backend import Judgement
from AquaML.environment.mujoco.gymnasium_tasks.task import GymnasiumTask

_STEEPEST = 0.2
"""The episode ends when the pole leans more than this, in radians."""


@dataclasses.dataclass
class InvertedPendulumOptions:
    """Keyword arguments of Gymnasium's class, by its names; its documentation explains them."""

    reset_noise_scale: float


class InvertedPendulum(GymnasiumTask[InvertedPendulumOptions]):
    """One for every step that the pole stands."""

    options_type = InvertedPendulumOptions

    def observe(self) -> np.ndarray:
        """Return positions and velocities."""
        return np.concatenate((self.positions, self.velocities), axis=1)

    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Judge whether the pole stands."""
        observations = self.observe()
        terminated = ~np.isfinite(observations).all(axis=1) | (np.abs(observations[:, 1]) > _STEEPEST)
        survive = (~terminated).astype(np.float64)
        return survive, terminated, {"reward_survive": survive}
