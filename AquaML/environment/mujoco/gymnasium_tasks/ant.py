"""Ant-v5: four legs run forward."""

import dataclasses
from typing import Dict, Tuple, Union

import numpy as np

from AquaML.environment.mujoco.backend import Judgement
from AquaML.environment.mujoco.gymnasium_tasks.task import GymnasiumTask, flat, place_and_speed


@dataclasses.dataclass
class AntOptions:
    """Keyword arguments of Gymnasium's class, by its names; its documentation explains them."""

    forward_reward_weight: float
    ctrl_cost_weight: float
    contact_cost_weight: float
    healthy_reward: float
    main_body: Union[int, str]
    terminate_when_unhealthy: bool
    healthy_z_range: Tuple[float, float]
    contact_force_range: Tuple[float, float]
    reset_noise_scale: float
    exclude_current_positions_from_observation: bool
    include_cfrc_ext_in_observation: bool


class Ant(GymnasiumTask[AntOptions]):
    """Reward for forward speed and health, cost of actions and of clipped contact forces."""

    options_type = AntOptions
    normal_velocities = True

    def prepare(self) -> None:
        """Watch contact forces and the body whose speed counts."""
        self._forces = self.simulation.watch("cfrc_ext")
        self._places = self.simulation.watch("xpos")[:, self.body(self.options.main_body), :2]
        self._before = self._places

    def remember(self) -> None:
        """Keep the main body's place."""
        self._before = self._places.copy()

    def observe(self) -> np.ndarray:
        """Return positions, velocities and clipped contact forces."""
        skipped = 2 if self.options.exclude_current_positions_from_observation else 0
        parts = [self.positions[:, skipped:], self.velocities]
        if self.options.include_cfrc_ext_in_observation:
            parts.append(flat(self._clipped_forces()[:, 1:]))
        return np.concatenate(parts, axis=1)

    def _clipped_forces(self) -> np.ndarray:
        return np.clip(self._forces, *self.options.contact_force_range)

    def _healthy(self) -> np.ndarray:
        low, high = self.options.healthy_z_range
        height = self.positions[:, 2]
        finite = np.isfinite(self.positions).all(axis=1) & np.isfinite(self.velocities).all(axis=1)
        return finite & (low <= height) & (height <= high)

    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Judge speed, health, effort and impacts."""
        options = self.options
        speed = (self._places - self._before) / self.simulation.time_step
        healthy = self._healthy()
        forward = speed[:, 0] * options.forward_reward_weight
        survive = healthy * options.healthy_reward
        control = options.ctrl_cost_weight * self.squared_actions(native)
        contact = options.contact_cost_weight * np.square(flat(self._clipped_forces())).sum(axis=1)
        scalars = {
            **place_and_speed(self.positions, speed),
            "reward_forward": forward,
            "reward_ctrl": -control,
            "reward_contact": -contact,
            "reward_survive": survive,
        }
        terminated = ~healthy & bool(options.terminate_when_unhealthy)
        return (forward + survive) - (control + contact), terminated, scalars
