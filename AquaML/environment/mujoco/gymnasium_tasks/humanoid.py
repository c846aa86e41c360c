"""Humanoid-v5: a humanoid walks forward."""

import dataclasses
from typing import Dict, Tuple

import numpy as np

from AquaML.environment.mujoco.backend import Judgement
from AquaML.environment.mujoco.gymnasium_tasks.humanoid_body import HumanoidBody
from AquaML.environment.mujoco.gymnasium_tasks.task import place_and_speed


@dataclasses.dataclass
class HumanoidOptions:
    """Keyword arguments of Gymnasium's class, by its names; its documentation explains them."""

    forward_reward_weight: float
    ctrl_cost_weight: float
    contact_cost_weight: float
    contact_cost_range: Tuple[float, float]
    healthy_reward: float
    terminate_when_unhealthy: bool
    healthy_z_range: Tuple[float, float]
    reset_noise_scale: float
    exclude_current_positions_from_observation: bool
    include_cinert_in_observation: bool
    include_cvel_in_observation: bool
    include_qfrc_actuator_in_observation: bool
    include_cfrc_ext_in_observation: bool


class Humanoid(HumanoidBody):
    """Reward for the mass centre's forward speed and for health, cost of controls and of impacts."""

    options_type = HumanoidOptions

    def prepare(self) -> None:
        """Watch the bodies' mass centres, too."""
        super().prepare()
        self._masses = self.original.model.body_mass
        self._centres = self.simulation.watch("xipos")

    def _mass_centre(self) -> np.ndarray:
        return np.einsum("b,nbj->nj", self._masses, self._centres[:, :, :2]) / self._masses.sum()

    def remember(self) -> None:
        """Keep the place of the mass centre."""
        self._before = self._mass_centre()

    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Judge speed, health, effort and impacts."""
        options = self.options
        speed = (self._mass_centre() - self._before) / self.simulation.time_step
        low, high = options.healthy_z_range
        healthy = (low < self.positions[:, 2]) & (self.positions[:, 2] < high)
        forward = options.forward_reward_weight * speed[:, 0]
        survive = healthy * options.healthy_reward
        control = self.control_cost()
        contact = np.clip(options.contact_cost_weight * self.squared_forces(), *options.contact_cost_range)
        scalars = {
            **place_and_speed(self.positions, speed),
            "reward_survive": survive,
            "reward_forward": forward,
            "reward_ctrl": -control,
            "reward_contact": -contact,
        }
        terminated = ~healthy & bool(options.terminate_when_unhealthy)
        return (forward + survive) - (control + contact), terminated, scalars
