"""Configuration of what all agents with networks share."""

import dataclasses
from typing import Dict, Union

from AquaML.config import option
from AquaML.learning.model.normalizer_cfg import NormalizerCfg
from AquaML.learning.reinforcement.agent_cfg import AgentCfg


@dataclasses.dataclass
class LearningCfg(AgentCfg):
    """Discount, scale of rewards, and normalisers of observations."""

    discount_factor: float = option(0.99, at_least=0.0, at_most=1.0)
    """gamma: weight of a reward one step later."""

    reward_scale: float = option(1.0)
    """Factor on rewards before learning; logged returns stay as they are. Not 0."""

    observation_normalizer: Union[bool, NormalizerCfg] = option(True)
    """How floating-point observations are normalised; True: with defaults, False: not at all."""

    observation_normalizer_by_key: Dict[str, Union[bool, NormalizerCfg]] = option(factory=dict)
    """Exceptions from ``observation_normalizer`` by observation name."""

    def check_relations(self) -> None:
        """Rewards must not vanish."""
        if self.reward_scale == 0.0:
            self.fail("reward_scale", "a factor other than 0")
