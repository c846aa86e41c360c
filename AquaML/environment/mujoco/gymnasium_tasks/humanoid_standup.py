"""HumanoidStandup-v5: a humanoid that lies gets up; nothing ends an episode but the time limit."""

import dataclasses
from typing import Dict, Tuple

import numpy as np

from AquaML.environment.mujoco.backend import Judgement
from AquaML.environment.mujoco.gymnasium_tasks.humanoid_body import HumanoidBody


@dataclasses.dataclass
class HumanoidStandupOptions:
    """Keyword arguments of Gymnasium's class, by its names; its documentation explains them.

    ``uph_cost_weight`` has no effect, in Gymnasium as here.
    """

    uph_cost_weight: float
    ctrl_cost_weight: float
    impact_cost_weight: float
    impact_cost_range: Tuple[float, float]
    reset_noise_scale: float
    exclude_current_positions_from_observation: bool
    include_cinert_in_observation: bool
    include_cvel_in_observation: bool
    include_qfrc_actuator_in_observation: bool
    include_cfrc_ext_in_observation: bool


class HumanoidStandup(HumanoidBody):
    """Reward for height, cost of controls and of impacts."""

    options_type = HumanoidStandupOptions

    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Judge height, effort and impacts."""
        options = self.options
        height = self.positions[:, 2]
        rise = height / self.original.model.opt.timestep
        control = self.control_cost()
        impact = np.clip(options.impact_cost_weight * self.squared_forces(), *options.impact_cost_range)
        scalars = {
            "x_position": self.positions[:, 0],
            "y_position": self.positions[:, 1],
            "z_distance_from_origin": height - self.original.positions[2],
            "reward_linup": rise,
            "reward_quadctrl": -control,
            "reward_impact": -impact,
        }
        return rise - control - impact + 1, np.zeros(self.num_envs, bool), scalars
