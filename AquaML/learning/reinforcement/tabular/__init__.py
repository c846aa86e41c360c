"""Algorithms with a table of values, for worlds whose observations and actions can be counted."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "QLearning": "AquaML.learning.reinforcement.tabular.q_learning",
        "SARSA": "AquaML.learning.reinforcement.tabular.sarsa",
        "TabularCfg": "AquaML.learning.reinforcement.tabular.tabular_cfg",
    },
)
