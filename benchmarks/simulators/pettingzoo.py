"""Tasks of PettingZoo."""

from typing import Dict

from AquaML.environment.pettingzoo_envs import PettingZooWrapper
from benchmarks.simulators.task import Task


def _simple_spread() -> PettingZooWrapper:
    from mpe2 import simple_spread_v3

    return PettingZooWrapper(simple_spread_v3.parallel_env, copies=16, global_state=True, max_episode_length=25)


TASKS: Dict[str, Task] = {
    "simple_spread": Task(
        make=_simple_spread,
        packages=("pettingzoo", "mpe2"),
        timesteps=12_000,
        agent={"rollouts": 50, "learning_epochs": 5, "mini_batches": 4, "learning_rate": 1e-3},
        must=-20.0,
        known="to be written",
        hidden_sizes=(64, 64),
        episodes=300,
    )
}
