"""Tasks of Brax."""

from typing import Dict

from AquaML.environment.brax_envs import BraxWrapper
from benchmarks.simulators.task import Task

_MAXIMUM = "The maximum is 1,000: one for each step of an episode in which the pole stands until the time limit."


def _generalized() -> BraxWrapper:
    return BraxWrapper("inverted_pendulum", num_envs=64, backend="generalized")


def _spring() -> BraxWrapper:
    return BraxWrapper("inverted_pendulum", num_envs=64, backend="spring")


TASKS: Dict[str, Task] = {
    "inverted_pendulum_generalized": Task(
        make=_generalized,
        packages=("brax", "jax"),
        timesteps=16_000,
        agent={
            "rollouts": 32,
            "learning_epochs": 5,
            "mini_batches": 4,
            "learning_rate": 1e-3,
            "learning_rate_scheduler": "LinearLR",
            "learning_rate_scheduler_kwargs": {"start_factor": 1.0, "end_factor": 0.05, "total_iters": 500},
            "scheduler_interval": "update",
        },
        must=950.0,
        known=_MAXIMUM,
    ),
    # Cheaper physics, in which joints are springs: not every seed reaches the maximum, with the settings above neither.
    "inverted_pendulum": Task(
        make=_spring,
        packages=("brax", "jax"),
        timesteps=8_000,
        agent={"rollouts": 32, "learning_epochs": 5, "mini_batches": 4, "learning_rate": 1e-3},
        must=950.0,
        known=_MAXIMUM,
    ),
}
