"""Batched MuJoCo: physics by threads, tasks for the whole batch at once."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "MujocoBackend": "AquaML.environment.mujoco.backend",
        "Simulation": "AquaML.environment.mujoco.simulation",
    },
)
