"""Tasks of PettingZoo."""

import functools
from typing import Dict

from AquaML.environment.pettingzoo_envs import PettingZooWrapper
from benchmarks.simulators.task import Task


def simple_spread(copies: int = 32) -> PettingZooWrapper:
    """Make the task in which two agents are to cover two landmarks without touching each other."""
    from mpe2 import simple_spread_v3

    make = functools.partial(simple_spread_v3.parallel_env, N=2)
    return PettingZooWrapper(make, copies=copies, global_state=True, max_episode_length=25)


TASKS: Dict[str, Task] = {
    "simple_spread": Task(
        make=simple_spread,
        packages=("pettingzoo", "mpe2"),
        timesteps=6_000,
        agent={
            "rollouts": 25,
            "discount_factor": 0.95,
            "learning_epochs": 8,
            "mini_batches": 4,
            "learning_rate": 1e-3,
        },
        must=-9.0,
        known="Measured by tests/simulators/test_pettingzoo.py: random actions -20, each agent to its nearest landmark "
        "-12, agents that share out the landmarks by hand -6.",
        episodes=300,
    )
}
