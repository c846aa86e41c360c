"""Gymnasium's eleven MuJoCo tasks, version 5, judged for the whole batch at once."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "make": "AquaML.environment.mujoco.gymnasium_tasks.making",
        "TASKS": "AquaML.environment.mujoco.gymnasium_tasks.making",
        "GymnasiumTask": "AquaML.environment.mujoco.gymnasium_tasks.task",
        "Original": "AquaML.environment.mujoco.gymnasium_tasks.task",
    },
)
