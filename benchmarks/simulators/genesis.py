"""Genesis, through ``RslRlVecEnvWrapper``, with a cart-pole of our own: the package brings no environments."""

from typing import Dict

from AquaML.environment.base import EnvironmentWrapper
from AquaML.environment.rsl_rl_envs import RslRlVecEnvWrapper
from benchmarks.simulators.task import Task


def _cart_pole() -> EnvironmentWrapper:
    from tests.simulators.genesis_cartpole import GenesisCartpole

    return RslRlVecEnvWrapper(GenesisCartpole(num_envs=64), clip_actions=1.0)


TASKS: Dict[str, Task] = {
    "cart-pole": Task(
        make=_cart_pole,
        packages=("genesis-world",),
        timesteps=300 * 32,
        agent={"rollouts": 32, "learning_epochs": 4, "mini_batches": 4, "learning_rate": 1e-3},
        must=9.5,
        known="The most that 250 steps can give is 10; a controller tuned by hand has 9.99.",
        episodes=64,
    )
}
