"""Configuration of DQN."""

import dataclasses
from typing import Optional

from AquaML.config import option
from AquaML.learning.reinforcement.exploration_cfg import ExplorationCfg
from AquaML.learning.reinforcement.off_policy.off_policy_cfg import OffPolicyCfg


@dataclasses.dataclass
class DQNCfg(ExplorationCfg, OffPolicyCfg):
    """Deep Q-network: who chooses the action that a target counts on, and a target network that is copied."""

    double: bool = option(True)
    """Whether the learned network chooses the successor's action and the target network says what it is worth; False:
    the target network does both, and overestimates."""

    memory_size: int = option(100_000, at_least=1)
    """Transitions kept, over all environments; rounded down to whole vector steps."""

    batch_size: int = option(128, at_least=1)
    """Transitions per gradient step."""

    random_timesteps: int = option(0, at_least=0)
    """Vector steps at the beginning in which all actions are drawn uniformly; ``exploration`` serves beside it."""

    learning_rate: float = option(5e-4, at_least=0.0)
    """Adam's step size."""

    grad_norm_clip: Optional[float] = option(10.0, above=0.0)
    """Largest 2-norm of the network's gradients; None: no clipping."""

    target_smoothing: float = option(1.0, above=0.0, at_most=1.0)
    """tau: how far the target network moves towards the learned one; 1 copies it."""

    target_interval: int = option(100, at_least=1)
    """Gradient steps between two moves of the target network; with each, news of rewards goes ``n_steps`` further."""
