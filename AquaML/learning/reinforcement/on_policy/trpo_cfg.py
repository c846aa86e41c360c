"""Configuration of TRPO."""

import dataclasses

from AquaML.config import option
from AquaML.learning.reinforcement.on_policy.actor_critic_cfg import ActorCriticCfg


@dataclasses.dataclass
class TRPOCfg(ActorCriticCfg):
    """Trust region policy optimisation; optimiser, schedule and minibatches are those of the value function."""

    mini_batches: int = option(4, at_least=1)
    """Number of minibatches of the value function's passes, at most ``rollouts * num_envs``."""

    learning_rate: float = option(1e-3, at_least=0.0)
    """Adam's step size for the value function."""

    value_epochs: int = option(10, at_least=1)
    """Passes of the value function over a rollout per update."""

    max_divergence: float = option(0.01, above=0.0)
    """delta: largest mean divergence of the new policy from the old one, in nats."""

    conjugate_gradient_steps: int = option(10, at_least=1)
    """Steps of the conjugate gradient method for the natural gradient."""

    damping: float = option(0.1, at_least=0.0)
    """Multiple of the identity that is added to the Fisher matrix."""

    line_search_steps: int = option(10, at_least=1)
    """Step lengths tried, each ``line_search_shrinking`` times the one before."""

    line_search_shrinking: float = option(0.5, above=0.0, below=1.0)
    """By how much a step is shortened that improves nothing or goes too far."""

    accepted_share: float = option(0.1, at_least=0.0, below=1.0)
    """Share of the improvement that the gradient promises which a step must bring."""

    def check_relations(self) -> None:
        """Options of a joint loss have no meaning here."""
        super().check_relations()
        if self.mixed_precision:
            self.fail("mixed_precision", "False, for the curvature needs full precision")
        if self.schedules_by_divergence():
            self.fail("learning_rate_scheduler", "another one, for the learning rate does not move the policy")
        if self.value_learning_rate is not None:
            self.fail("value_learning_rate", "None; learning_rate is the value function's")
        if self.advantage_normalization == "minibatch":
            self.fail("advantage_normalization", "'batch' or 'none', for the policy's step takes the whole rollout")
        if self.entropy_loss_scale:
            self.fail("entropy_loss_scale", "0, for the policy is not descended along a loss")
