"""Configuration of tabular agents."""

import dataclasses

from AquaML.config import option
from AquaML.learning.reinforcement.exploration_cfg import ExplorationCfg


@dataclasses.dataclass
class TabularCfg(ExplorationCfg):
    """Discount and step size."""

    discount_factor: float = option(0.99, at_least=0.0, at_most=1.0)
    """gamma: weight of a reward one step later."""

    learning_rate: float = option(0.1, above=0.0, at_most=1.0)
    """How far an entry of the table moves towards its target."""

    initial_value: float = option(0.0)
    """What the table holds at first; more than can be earned makes the agent try everything."""
