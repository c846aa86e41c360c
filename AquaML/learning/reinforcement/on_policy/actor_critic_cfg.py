"""Configuration of what actor-critic agents share."""

import dataclasses
from typing import Any, Dict, Optional, Union

from AquaML.config import option
from AquaML.learning.reinforcement.on_policy.on_policy_cfg import OnPolicyCfg


@dataclasses.dataclass
class ActorCriticCfg(OnPolicyCfg):
    """Minibatches, optimiser, schedule and weights of losses."""

    mini_batches: int = option(1, at_least=1)
    """Number of minibatches per pass, at most ``rollouts * num_envs``."""

    learning_rate: float = option(3e-4, at_least=0.0)
    """Adam's step size for the policy, and for the value function unless that has its own."""

    value_learning_rate: Optional[float] = option(None, at_least=0.0)
    """Adam's step size for the value function; None: ``learning_rate``. Not with one shared model."""

    learning_rate_scheduler: Optional[Union[str, type]] = option(None)
    """``"KLAdaptiveLR"``, the name of a scheduler of ``torch.optim.lr_scheduler``, or a class; None: constant."""

    learning_rate_scheduler_kwargs: Dict[str, Any] = option(factory=dict)
    """Keyword arguments of the scheduler."""

    scheduler_interval: str = option("epoch", choices=("epoch", "update"))
    """When the scheduler steps: after every pass, or after every update."""

    value_loss_scale: float = option(1.0, at_least=0.0)
    """Weight of the value function's mean squared error."""

    entropy_loss_scale: float = option(0.0)
    """Weight of the entropy bonus, in reward per nat summed over action dimensions."""

    advantage_normalization: str = option("batch", choices=("batch", "minibatch", "none"))
    """Over what advantages are brought to zero mean and unit variance."""

    grad_norm_clip: Optional[float] = option(1.0, above=0.0)
    """Largest joint 2-norm of all gradients; None: no clipping."""

    compile: bool = option(False)
    """Whether the losses are compiled by ``torch.compile`` (torch 2; on the CPU a C++ compiler): the first update takes
    up to a minute longer, the following ones less time."""

    def schedules_by_divergence(self) -> bool:
        """Return whether the learning rate follows how far the policy moves."""
        return getattr(self.learning_rate_scheduler, "__name__", self.learning_rate_scheduler) == "KLAdaptiveLR"

    def check_relations(self) -> None:
        """Scheduler arguments need a scheduler."""
        super().check_relations()
        if self.learning_rate_scheduler_kwargs and self.learning_rate_scheduler is None:
            self.fail("learning_rate_scheduler_kwargs", "nothing while learning_rate_scheduler is None")
