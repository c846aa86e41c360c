"""What all off-policy agents' configurations have."""

import dataclasses
from typing import Any, Dict, Optional, Union

from AquaML.config import option
from AquaML.learning.reinforcement.learning_cfg import LearningCfg


@dataclasses.dataclass
class OffPolicyCfg(LearningCfg):
    """Memory, sampling, rhythm of updates, and target networks."""

    memory_size: int = option(1_000_000, at_least=1)
    """Transitions kept, over all environments; rounded down to whole vector steps."""

    memory_directory: Optional[str] = option(None)
    """Folder in which the memory lies in temporary files, for images beyond the machine's memory; None: in memory."""

    save_memory: bool = option(True)
    """Whether a run's checkpoints hold the memory, in a file beside each; a run that is resumed without it begins with
    an empty one, so that it differs from the uninterrupted run."""

    batch_size: int = option(256, at_least=1)
    """Transitions per gradient step."""

    n_steps: int = option(1, at_least=1)
    """Steps of reward that a target sums up before it trusts the target network."""

    prioritized: bool = option(False)
    """Whether transitions with large temporal-difference errors are drawn more often."""

    priority_exponent: float = option(0.6, at_least=0.0, at_most=1.0)
    """alpha of prioritised sampling: 0 draws all alike, 1 in proportion to the error."""

    importance_exponent: float = option(0.4, at_least=0.0, at_most=1.0)
    """beta of prioritised sampling at the beginning; it grows to 1, where the bias is corrected wholly."""

    random_timesteps: int = option(1_000, at_least=0)
    """Vector steps at the beginning in which actions are drawn uniformly."""

    learning_starts: int = option(1_000, at_least=0)
    """Vector steps that the memory must hold before the first update; a full memory suffices."""

    update_interval: int = option(1, at_least=1)
    """Vector steps between updates."""

    gradient_steps: int = option(1, at_least=1)
    """Gradient steps per update, each on a batch of its own."""

    learning_rate: float = option(3e-4, at_least=0.0)
    """Adam's step size, of every network that has none of its own."""

    learning_rate_scheduler: Optional[Union[str, type]] = option(None)
    """The name of a scheduler of ``torch.optim.lr_scheduler``, or a class, that steps after every update; None:
    constant."""

    learning_rate_scheduler_kwargs: Dict[str, Any] = option(factory=dict)
    """Keyword arguments of the scheduler."""

    grad_norm_clip: Optional[float] = option(None, above=0.0)
    """Largest joint 2-norm of a network's gradients; None: no clipping."""

    target_smoothing: float = option(0.005, above=0.0, at_most=1.0)
    """tau: how far the target network moves towards the learned one; 1 copies it."""

    target_interval: int = option(1, at_least=1)
    """Gradient steps between two moves of the target network."""

    def check_relations(self) -> None:
        """A batch needs transitions, and options need what they belong to."""
        super().check_relations()
        if self.memory_size < self.n_steps:
            self.fail("memory_size", "at least n_steps = {}".format(self.n_steps))
        if self.learning_rate_scheduler_kwargs and self.learning_rate_scheduler is None:
            self.fail("learning_rate_scheduler_kwargs", "nothing while learning_rate_scheduler is None")
        name = getattr(self.learning_rate_scheduler, "__name__", self.learning_rate_scheduler)
        if name == "KLAdaptiveLR":
            self.fail("learning_rate_scheduler", "another one, for off-policy learning measures no divergence")
