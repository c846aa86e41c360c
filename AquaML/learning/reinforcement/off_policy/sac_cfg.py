"""Configuration of SAC."""

import dataclasses
from typing import Optional

from AquaML.config import option
from AquaML.learning.reinforcement.off_policy.critic_agent_cfg import CriticAgentCfg


@dataclasses.dataclass
class SACCfg(CriticAgentCfg):
    """Soft actor-critic: what a nat of entropy is worth, fixed or learned."""

    initial_temperature: float = option(1.0, above=0.0)
    """alpha: reward per nat of entropy, at the beginning."""

    learn_temperature: bool = option(True)
    """Whether the temperature follows the entropy; False: it stays ``initial_temperature``."""

    temperature_learning_rate: Optional[float] = option(None, at_least=0.0)
    """Adam's step size for the logarithm of the temperature; None: ``learning_rate``."""

    target_entropy: Optional[float] = option(None)
    """Entropy, in nats, of actions as places in -1 … 1, that the temperature aims at; None: -1 per dimension."""

    def check_relations(self) -> None:
        """A target is for a temperature that is learned."""
        super().check_relations()
        if not self.learn_temperature and self.target_entropy is not None:
            self.fail("target_entropy", "None while learn_temperature is False")
