"""What all on-policy agents' configurations have."""

import dataclasses
from typing import Any, Callable, Optional, Union

from AquaML.config import option
from AquaML.learning.model.normalizer_cfg import NormalizerCfg
from AquaML.learning.reinforcement.learning_cfg import LearningCfg


@dataclasses.dataclass
class OnPolicyCfg(LearningCfg):
    """Rollouts, returns, normalisers and precision."""

    rollouts: int = option(32, at_least=1)
    """Vector steps between two updates."""

    memory_size: Optional[int] = option(None, at_least=1)
    """Rows kept, at least ``rollouts``; the newest ``rollouts`` rows train, older whole rollouts stay readable. None:
    ``rollouts``."""

    sequence_length: Optional[int] = option(None, at_least=1)
    """Steps through which gradients of a recurrent model flow; divides ``rollouts``. None: ``rollouts``."""

    gae_lambda: float = option(0.95, at_least=0.0, at_most=1.0)
    """lambda of generalised advantage estimation: 0 trusts the values, 1 the returns."""

    reward_shaper: Optional[Callable[..., Any]] = option(None)
    """Function of a rollout's scaled rewards ``(rollouts, num_envs, 1)`` that returns new ones of that shape."""

    value_normalizer: Union[bool, NormalizerCfg] = option(True)
    """How returns are normalised for the value function; True: with defaults, False: not at all."""

    mixed_precision: Union[bool, str] = option(False, choices=(False, True, "bf16", "fp16"))
    """Type of matrix products: False float32, ``"bf16"``, ``"fp16"`` (CUDA only), True the better one of the device."""

    def check_relations(self) -> None:
        """Memory must hold a rollout."""
        super().check_relations()
        if self.memory_size is not None and self.memory_size < self.rollouts:
            self.fail("memory_size", "at least rollouts = {}".format(self.rollouts))
        if self.sequence_length is not None and self.rollouts % self.sequence_length:
            self.fail("sequence_length", "a divisor of rollouts = {}".format(self.rollouts))
