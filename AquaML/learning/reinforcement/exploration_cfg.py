"""Configuration of exploration by actions that are random now and then."""

import dataclasses

from AquaML.config import option
from AquaML.learning.reinforcement.agent_cfg import AgentCfg


@dataclasses.dataclass
class ExplorationCfg(AgentCfg):
    """Chance of a random action, which falls linearly (epsilon-greedy)."""

    exploration: float = option(1.0, at_least=0.0, at_most=1.0)
    """epsilon: chance of a random action at the beginning of training."""

    final_exploration: float = option(0.05, at_least=0.0, at_most=1.0)
    """Chance of a random action once ``exploration_share`` of the training is over."""

    exploration_share: float = option(0.5, above=0.0, at_most=1.0)
    """Share of the training's vector steps over which the chance goes from the one to the other, linearly."""
