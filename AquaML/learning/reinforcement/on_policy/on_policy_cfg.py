"""What all on-policy agents' configurations have."""

import dataclasses
from typing import Any, Callable, Dict, Optional, Union

from AquaML.config import option
from AquaML.learning.model.normalizer_cfg import NormalizerCfg
from AquaML.learning.reinforcement.agent_cfg import AgentCfg


@dataclasses.dataclass
class OnPolicyCfg(AgentCfg):
    """Rollouts, returns, normalisers and precision."""

    rollouts: int = option(32, at_least=1)
    """Vector steps between two updates."""

    memory_size: Optional[int] = option(None, at_least=1)
    """Rows kept, at least ``rollouts``; the newest ``rollouts`` rows train, older whole rollouts stay readable. None:
    ``rollouts``."""

    discount_factor: float = option(0.99, at_least=0.0, at_most=1.0)
    """gamma: weight of a reward one step later."""

    gae_lambda: float = option(0.95, at_least=0.0, at_most=1.0)
    """lambda of generalised advantage estimation: 0 trusts the values, 1 the returns."""

    reward_scale: float = option(1.0)
    """Factor on rewards before learning; logged returns stay as they are. Not 0."""

    reward_shaper: Optional[Callable[..., Any]] = option(None)
    """Function of a rollout's scaled rewards ``(rollouts, num_envs, 1)`` that returns new ones of that shape."""

    observation_normalizer: Union[bool, NormalizerCfg] = option(True)
    """How floating-point observations are normalised; True: with defaults, False: not at all."""

    observation_normalizer_by_key: Dict[str, Union[bool, NormalizerCfg]] = option(factory=dict)
    """Exceptions from ``observation_normalizer`` by observation name."""

    value_normalizer: Union[bool, NormalizerCfg] = option(True)
    """How returns are normalised for the value function; True: with defaults, False: not at all."""

    mixed_precision: Union[bool, str] = option(False, choices=(False, True, "bf16", "fp16"))
    """Type of matrix products: False float32, ``"bf16"``, ``"fp16"`` (CUDA only), True the better one of the device."""

    def check_relations(self) -> None:
        """Memory must hold a rollout, and rewards must not vanish."""
        if self.memory_size is not None and self.memory_size < self.rollouts:
            self.fail("memory_size", "at least rollouts = {}".format(self.rollouts))
        if self.reward_scale == 0.0:
            self.fail("reward_scale", "a factor other than 0")
