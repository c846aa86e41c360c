"""Algorithms that learn from what the present policy did."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "A2C": "AquaML.learning.reinforcement.on_policy.a2c",
        "A2CCfg": "AquaML.learning.reinforcement.on_policy.a2c_cfg",
        "PPO": "AquaML.learning.reinforcement.on_policy.ppo",
        "PPOCfg": "AquaML.learning.reinforcement.on_policy.ppo_cfg",
        "RPO": "AquaML.learning.reinforcement.on_policy.rpo",
        "RPOCfg": "AquaML.learning.reinforcement.on_policy.rpo_cfg",
        "TRPO": "AquaML.learning.reinforcement.on_policy.trpo",
        "TRPOCfg": "AquaML.learning.reinforcement.on_policy.trpo_cfg",
    },
)
