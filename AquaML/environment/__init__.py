"""Worlds: spaces, the step contract, wrappers and their checker."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "EnvironmentWrapper": "AquaML.environment.base",
        "GymnasiumWrapper": "AquaML.environment.gymnasium_envs",
        "MujocoVectorEnv": "AquaML.environment.mujoco.vector_env",
        "SpaceLayout": "AquaML.environment.spaces",
        "TensorSpec": "AquaML.environment.spaces",
        "check_env": "AquaML.environment.checker",
    },
)
