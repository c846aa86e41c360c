"""Batched MuJoCo: physics by threads, tasks for the whole batch at once."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "LogUniform": "AquaML.environment.mujoco.randomization",
        "MujocoBackend": "AquaML.environment.mujoco.backend",
        "MujocoVectorEnv": "AquaML.environment.mujoco.vector_env",
        "Normal": "AquaML.environment.mujoco.randomization",
        "Simulation": "AquaML.environment.mujoco.simulation",
        "Uniform": "AquaML.environment.mujoco.randomization",
    },
)
