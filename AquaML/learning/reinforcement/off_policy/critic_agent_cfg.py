"""Configuration of what agents share that learn a policy through critics."""

import dataclasses
from typing import Optional

from AquaML.config import option
from AquaML.learning.reinforcement.off_policy.off_policy_cfg import OffPolicyCfg


@dataclasses.dataclass
class CriticAgentCfg(OffPolicyCfg):
    """Step sizes of policy and critic, and how often the policy learns."""

    policy_learning_rate: Optional[float] = option(None, at_least=0.0)
    """Adam's step size for the policy; None: ``learning_rate``."""

    critic_learning_rate: Optional[float] = option(None, at_least=0.0)
    """Adam's step size for the critic; None: ``learning_rate``."""

    policy_interval: int = option(1, at_least=1)
    """Gradient steps of the critic between two of the policy; the target networks move with the policy."""
