"""Play what ``train.py`` has learned on a task of Isaac Lab.

Run ``python examples/isaac_lab/play.py --task Isaac-Cartpole-v0 --run logs/aquaml/Isaac-Cartpole-v0/<time>`` in Isaac
Lab's Python.
"""

import argparse
import os
from typing import Any, List, Optional


def options_of(arguments: Optional[List[str]]) -> Any:
    """Return the options, and have Isaac Lab add its own."""
    from isaaclab.app import AppLauncher

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", required=True)
    parser.add_argument("--run", required=True, help="the run's folder, or a checkpoint file in it")
    parser.add_argument("--num_envs", type=int, default=16)
    parser.add_argument("--episodes", type=int, default=16)
    parser.add_argument("--clip_actions", type=float, default=None)
    AppLauncher.add_app_launcher_args(parser)
    return parser.parse_args(arguments)


def main(arguments: Optional[List[str]] = None) -> None:
    """Play episodes, deterministic."""
    options = options_of(arguments)
    from isaaclab.app import AppLauncher

    app = AppLauncher(options).app
    try:
        play(options)
    finally:
        app.close()


def play(options: Any) -> None:
    """Make the environment and the agent, load it, and play."""
    import gymnasium
    from isaaclab_tasks.utils import parse_env_cfg

    from AquaML.environment import IsaacLabWrapper
    from AquaML.learning.trainers import ExperimentCfg, make_trainer

    env_cfg = parse_env_cfg(options.task, device=options.device, num_envs=options.num_envs)
    env = IsaacLabWrapper(gymnasium.make(options.task, cfg=env_cfg), clip_actions=options.clip_actions)
    is_folder = os.path.isdir(options.run)
    folder = options.run if is_folder else os.path.dirname(os.path.dirname(options.run))
    experiment = ExperimentCfg.of(os.path.join(folder, "params", "agent.yaml"))
    experiment.agent.device = str(options.device)
    trainer = make_trainer(env, experiment)
    trainer.agent.setup(env.getEnvInfo())
    trainer.agent.load(os.path.join(folder, "checkpoints", "last.aqua") if is_folder else options.run)
    summary = trainer.eval(episodes=options.episodes)
    print("Deterministic return over {} episodes: {:.2f}".format(summary.episodes, summary.return_mean))
    env.close()


if __name__ == "__main__":
    main()
