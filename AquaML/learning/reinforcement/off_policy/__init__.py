"""Off-policy agents: they learn from a memory of transitions."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "DDPG": "AquaML.learning.reinforcement.off_policy.ddpg",
        "DDPGCfg": "AquaML.learning.reinforcement.off_policy.ddpg_cfg",
        "DQN": "AquaML.learning.reinforcement.off_policy.dqn",
        "DQNCfg": "AquaML.learning.reinforcement.off_policy.dqn_cfg",
        "FastSAC": "AquaML.learning.reinforcement.off_policy.fast_sac",
        "FastSACCfg": "AquaML.learning.reinforcement.off_policy.fast_sac_cfg",
        "OffPolicyAgent": "AquaML.learning.reinforcement.off_policy.base",
        "OffPolicyCfg": "AquaML.learning.reinforcement.off_policy.off_policy_cfg",
        "SAC": "AquaML.learning.reinforcement.off_policy.sac",
        "SACCfg": "AquaML.learning.reinforcement.off_policy.sac_cfg",
        "TD3": "AquaML.learning.reinforcement.off_policy.td3",
        "TD3Cfg": "AquaML.learning.reinforcement.off_policy.td3_cfg",
    },
)
