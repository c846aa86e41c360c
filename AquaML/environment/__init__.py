"""Worlds: spaces, the step contract, wrappers and their checker."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "BraxWrapper": "AquaML.environment.brax_envs",
        "EnvironmentWrapper": "AquaML.environment.base",
        "GymnasiumWrapper": "AquaML.environment.gymnasium_envs",
        "HistoryWrapper": "AquaML.environment.history",
        "IsaacGymWrapper": "AquaML.environment.isaac_gym_envs",
        "IsaacLabWrapper": "AquaML.environment.isaac_lab_envs",
        "LeggedGymWrapper": "AquaML.environment.legged_gym_envs",
        "ManiSkillWrapper": "AquaML.environment.maniskill_envs",
        "MjlabWrapper": "AquaML.environment.isaac_lab_envs",
        "MujocoVectorEnv": "AquaML.environment.mujoco.vector_env",
        "ObservationHistory": "AquaML.environment.history",
        "PettingZooWrapper": "AquaML.environment.pettingzoo_envs",
        "RslRlVecEnvWrapper": "AquaML.environment.rsl_rl_envs",
        "SimulatorWrapper": "AquaML.environment.simulator_wrapper",
        "SpaceLayout": "AquaML.environment.spaces",
        "TensorSpec": "AquaML.environment.spaces",
        "check_env": "AquaML.environment.checker",
        "import_isaac_gym": "AquaML.environment.isaac_gym_import",
        "wrap_env": "AquaML.environment.wrap",
    },
)
