"""Tasks of mjlab, through ``MjlabWrapper``."""

from typing import Dict

from AquaML.environment.base import EnvironmentWrapper
from AquaML.environment.isaac_lab_envs import MjlabWrapper
from benchmarks.simulators.task import Task


def _cartpole_balance() -> EnvironmentWrapper:
    import mjlab.tasks  # noqa: F401 - registers the tasks
    import warp
    from mjlab.envs import ManagerBasedRlEnv
    from mjlab.tasks.registry import load_env_cfg

    warp.config.quiet = True
    cfg = load_env_cfg("Mjlab-Cartpole-Balance")
    cfg.scene.num_envs = 512
    # Episodes of 200 steps instead of 1,000, so that there is an evaluation in sensible time.
    cfg.episode_length_s = 10.0
    # The wrapper resets, and so knows last observations.
    cfg.auto_reset = False
    return MjlabWrapper(ManagerBasedRlEnv(cfg=cfg, device="cpu"), clip_actions=1.0, random_initial_length=True)


TASKS: Dict[str, Task] = {
    "Mjlab-Cartpole-Balance": Task(
        make=_cartpole_balance,
        packages=("mjlab", "mujoco-warp", "mujoco"),
        timesteps=100 * 24,
        agent={"rollouts": 24, "learning_epochs": 5, "mini_batches": 4, "learning_rate": 1e-3},
        must=9.5,
        known="The maximum is 10: mjlab pays at most 1 a second, and the episodes are of 10 seconds, not of 50.",
        episodes=512,
    )
}
