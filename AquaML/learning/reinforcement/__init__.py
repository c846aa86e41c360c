"""Agents: the base class, returns, schedules and algorithms."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Agent": "AquaML.learning.reinforcement.base",
        "AgentCfg": "AquaML.learning.reinforcement.agent_cfg",
        "KLAdaptiveLR": "AquaML.learning.reinforcement.schedulers",
        "check_agent": "AquaML.learning.reinforcement.checker",
        "generalized_advantage": "AquaML.learning.reinforcement.returns",
    },
)
