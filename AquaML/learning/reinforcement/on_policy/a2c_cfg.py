"""Configuration of A2C."""

import dataclasses
from typing import Optional

from AquaML.config import option
from AquaML.learning.reinforcement.on_policy.actor_critic_cfg import ActorCriticCfg


@dataclasses.dataclass
class A2CCfg(ActorCriticCfg):
    """Advantage actor-critic: short rollouts, and one pass over each."""

    rollouts: int = option(16, at_least=1)
    """Vector steps between two updates."""

    learning_rate: float = option(7e-4, at_least=0.0)
    """Adam's step size for the policy, and for the value function unless that has its own."""

    grad_norm_clip: Optional[float] = option(0.5, above=0.0)
    """Largest joint 2-norm of all gradients; None: no clipping."""

    def check_relations(self) -> None:
        """A single pass judges the policy that acted, so that no divergence is there to schedule by."""
        super().check_relations()
        if self.schedules_by_divergence():
            self.fail("learning_rate_scheduler", "another one, for a single pass begins with no divergence to go by")
