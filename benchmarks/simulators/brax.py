"""Tasks of Brax."""

from typing import Dict

from AquaML.environment.brax_envs import BraxWrapper
from benchmarks.simulators.task import Task


def _inverted_pendulum() -> BraxWrapper:
    return BraxWrapper("inverted_pendulum", num_envs=64, backend="spring")


TASKS: Dict[str, Task] = {
    "inverted_pendulum": Task(
        make=_inverted_pendulum,
        packages=("brax", "jax"),
        timesteps=8_000,
        agent={"rollouts": 32, "learning_epochs": 5, "mini_batches": 4, "learning_rate": 1e-3},
        must=950.0,
        known="The maximum is 1,000: one for each step of an episode in which the pole stands until the time limit.",
    )
}
