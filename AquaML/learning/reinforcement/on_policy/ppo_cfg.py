"""Configuration of PPO."""

import dataclasses
from typing import Optional

from AquaML.config import option
from AquaML.learning.reinforcement.on_policy.actor_critic_cfg import ActorCriticCfg


@dataclasses.dataclass
class PPOCfg(ActorCriticCfg):
    """Proximal policy optimisation with clipping."""

    mini_batches: int = option(4, at_least=1)
    """Number of minibatches per pass, at most ``rollouts * num_envs``."""

    learning_epochs: int = option(5, at_least=1)
    """Passes over a rollout per update."""

    ratio_clip: float = option(0.2, above=0.0)
    """How far the probability ratio may leave 1 before its gradient stops."""

    value_clip: Optional[float] = option(0.2, above=0.0)
    """How far a value may leave its old estimate, in normalised units; None: no clipping."""

    kl_threshold: Optional[float] = option(None, above=0.0)
    """Mean divergence, in nats, above which the remaining passes of an update are left out; None: never."""
