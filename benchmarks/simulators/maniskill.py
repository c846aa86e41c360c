"""Tasks of ManiSkill, through ``ManiSkillWrapper``, with the one environment that there is on the CPU."""

from typing import Dict

from AquaML.environment.base import EnvironmentWrapper
from benchmarks.simulators.task import Task


def _cartpole_balance() -> EnvironmentWrapper:
    from AquaML.environment.maniskill_envs import ManiSkillWrapper
    from tests.simulators.without_vulkan import do_without_vulkan

    do_without_vulkan()
    return ManiSkillWrapper(
        "MS-CartpoleBalance-v1", obs_mode="state", sim_backend="physx_cpu", render_backend="none", num_envs=1
    )


TASKS: Dict[str, Task] = {
    "MS-CartpoleBalance-v1": Task(
        make=_cartpole_balance,
        packages=("mani_skill", "sapien"),
        timesteps=30 * 1024,
        agent={
            "rollouts": 1024,
            "learning_epochs": 8,
            "mini_batches": 16,
            "learning_rate": 1e-3,
            "discount_factor": 0.98,
        },
        must=950.0,
        known="The maximum is 1,000: at most 1 for each step of an episode that lasts until the time limit.",
        episodes=10,
    )
}
