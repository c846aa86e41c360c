"""Configuration of RPO."""

import dataclasses

from AquaML.config import option
from AquaML.learning.reinforcement.on_policy.ppo_cfg import PPOCfg


@dataclasses.dataclass
class RPOCfg(PPOCfg):
    """Robust policy optimisation: PPO with a perturbed mean."""

    perturbation: float = option(0.5, at_least=0.0)
    """alpha: the mean of a Gaussian policy is moved by a number drawn from ±alpha in every dimension, in units of the
    action as the policy gives it; 0: PPO."""
