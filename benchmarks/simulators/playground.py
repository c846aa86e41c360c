"""Tasks of MuJoCo Playground."""

from typing import Dict

from AquaML.environment.brax_envs import BraxWrapper
from benchmarks.simulators.task import Task


def _cartpole_balance() -> BraxWrapper:
    return BraxWrapper("CartpoleBalance", num_envs=64, suite="playground", config_overrides={"impl": "jax"})


TASKS: Dict[str, Task] = {
    "CartpoleBalance": Task(
        make=_cartpole_balance,
        packages=("playground", "mujoco-mjx", "jax"),
        timesteps=16_000,
        agent={"rollouts": 32, "learning_epochs": 5, "mini_batches": 4, "learning_rate": 1e-3},
        must=950.0,
        known="The maximum is 1,000: at most 1 in each of 1,000 steps, as in the DeepMind Control Suite.",
    )
}
