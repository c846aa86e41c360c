"""Algorithms that learn from what the present policy did."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "PPO": "AquaML.learning.reinforcement.on_policy.ppo",
        "PPOCfg": "AquaML.learning.reinforcement.on_policy.ppo_cfg",
    },
)
