"""Configuration of FastSAC."""

import dataclasses

from AquaML.config import option
from AquaML.learning.reinforcement.off_policy.sac_cfg import SACCfg


@dataclasses.dataclass
class FastSACCfg(SACCfg):
    """SAC for many parallel environments: large batches, and critics that predict distributions."""

    batch_size: int = option(1024, at_least=1)
    """Transitions per gradient step."""

    gradient_steps: int = option(2, at_least=1)
    """Gradient steps per vector step, each on a batch of its own."""

    random_timesteps: int = option(100, at_least=0)
    """Vector steps at the beginning in which actions are drawn uniformly."""

    learning_starts: int = option(100, at_least=0)
    """Vector steps that the memory must hold before the first update."""

    policy_interval: int = option(2, at_least=1)
    """Gradient steps of the critic between two of the policy; the target networks move with the policy."""

    learning_rate: float = option(6e-4, at_least=0.0)
    """Adam's step size, of every network that has none of its own."""

    target_smoothing: float = option(0.05, above=0.0, at_most=1.0)
    """tau: how far the target network moves towards the learned one; 1 copies it."""

    initial_temperature: float = option(0.01, above=0.0)
    """alpha: scaled reward per nat of entropy, at the beginning."""

    atoms: int = option(101, at_least=2)
    """Number of values over which a critic spreads probability."""

    value_limit: float = option(5.0, above=0.0)
    """The largest value that there is, in scaled reward; rewards are scaled so that no return exceeds it."""
