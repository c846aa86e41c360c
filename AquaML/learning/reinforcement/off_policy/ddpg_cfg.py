"""Configuration of DDPG."""

import dataclasses

from AquaML.config import option
from AquaML.learning.reinforcement.off_policy.critic_agent_cfg import CriticAgentCfg


@dataclasses.dataclass
class DDPGCfg(CriticAgentCfg):
    """Deep deterministic policy gradient: how actions are tried."""

    exploration_noise: float = option(0.1, at_least=0.0)
    """Standard deviation of what is added to actions in training, in half widths of their range."""

    final_exploration_noise: float = option(0.1, at_least=0.0)
    """Standard deviation at the end of the training; between, it changes linearly."""

    noise_correlation: float = option(0.0, at_least=0.0, below=1.0)
    """Correlation of an environment's noise with that of its step before: 0 white noise, above it an Ornstein-Uhlenbeck
    process of the same standard deviation, which begins anew with each episode."""
