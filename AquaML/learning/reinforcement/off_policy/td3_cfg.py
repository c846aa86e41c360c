"""Configuration of TD3."""

import dataclasses

from AquaML.config import option
from AquaML.learning.reinforcement.off_policy.ddpg_cfg import DDPGCfg


@dataclasses.dataclass
class TD3Cfg(DDPGCfg):
    """Twin delayed deep deterministic policy gradient: smoothed targets, and a policy that waits for its critics."""

    policy_interval: int = option(2, at_least=1)
    """Gradient steps of the critic between two of the policy; the target networks move with the policy."""

    target_noise: float = option(0.2, at_least=0.0)
    """Standard deviation of what is added to the target policy's actions, in half widths of their range."""

    target_noise_clip: float = option(0.5, above=0.0)
    """Largest such noise, in half widths."""
