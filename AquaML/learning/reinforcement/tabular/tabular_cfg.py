"""Configuration of tabular agents."""

import dataclasses

from AquaML.config import option
from AquaML.learning.reinforcement.agent_cfg import AgentCfg


@dataclasses.dataclass
class TabularCfg(AgentCfg):
    """Discount, step size and exploration."""

    discount_factor: float = option(0.99, at_least=0.0, at_most=1.0)
    """gamma: weight of a reward one step later."""

    learning_rate: float = option(0.1, above=0.0, at_most=1.0)
    """How far an entry of the table moves towards its target."""

    initial_value: float = option(0.0)
    """What the table holds at first; more than can be earned makes the agent try everything."""

    exploration: float = option(1.0, at_least=0.0, at_most=1.0)
    """epsilon: chance of a random action at the beginning of training."""

    final_exploration: float = option(0.05, at_least=0.0, at_most=1.0)
    """Chance of a random action once ``exploration_share`` of the training is over."""

    exploration_share: float = option(0.5, above=0.0, at_most=1.0)
    """Share of the training's vector steps over which the chance goes from the one to the other, linearly."""
