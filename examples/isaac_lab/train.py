"""Train PPO on a task of Isaac Lab.

Run ``python examples/isaac_lab/train.py --task Isaac-Cartpole-v0 --headless`` in Isaac Lab's Python; options of its
``AppLauncher`` are taken as well. A task says by ``aquaml_cfg_entry_point`` in its registration how it wants to be
trained: a dictionary, a YAML or JSON file, or a class, as :class:`AquaML.learning.trainers.ExperimentCfg` takes them.
``--settings`` names another file.
"""

import argparse
import datetime
import os
from typing import Any, List, Optional


def options_of(arguments: Optional[List[str]]) -> Any:
    """Return the options, and have Isaac Lab add its own."""
    from isaaclab.app import AppLauncher

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", required=True)
    parser.add_argument("--num_envs", type=int, default=None, help="default: as the task says")
    parser.add_argument("--timesteps", type=int, default=None, help="vector steps; default: as the settings say")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", default=None, help="a YAML or JSON file")
    parser.add_argument("--resume", default=None, help="a run folder to go on with")
    parser.add_argument("--clip_actions", type=float, default=None)
    AppLauncher.add_app_launcher_args(parser)
    return parser.parse_args(arguments)


def settings_of(task: str, path: Optional[str]) -> Any:
    """Return the experiment that a task is registered with, or that of a file."""
    from isaaclab_tasks.utils import load_cfg_from_registry

    from AquaML.learning.trainers import ExperimentCfg

    if path is not None:
        return ExperimentCfg.of(path)
    try:
        return ExperimentCfg.of(load_cfg_from_registry(task, "aquaml_cfg_entry_point"))
    except ValueError as error:
        if "aquaml_cfg_entry_point" not in str(error):
            raise
        print("{} has no aquaml_cfg_entry_point; PPO's defaults are used.".format(task))
        return ExperimentCfg()


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, and write the run to ``logs/aquaml/<task>/<time>``."""
    options = options_of(arguments)
    from isaaclab.app import AppLauncher

    # The simulator must be started before anything of it, or torch, is imported.
    app = AppLauncher(options).app
    try:
        train(options)
    finally:
        app.close()


def train(options: Any) -> None:
    """Make the environment and train."""
    import gymnasium
    from isaaclab_tasks.utils import parse_env_cfg

    from AquaML.environment import IsaacLabWrapper
    from AquaML.learning.trainers import make_trainer

    env_cfg = parse_env_cfg(options.task, device=options.device, num_envs=options.num_envs)
    env_cfg.seed = options.seed
    # So that the true last observation of an episode is known at time limits; older versions have no such field.
    if hasattr(env_cfg, "compute_final_obs"):
        env_cfg.compute_final_obs = True
    experiment = settings_of(options.task, options.settings)
    experiment.trainer.seed = options.seed
    experiment.agent.device = str(options.device)
    if options.timesteps is not None:
        experiment.trainer.timesteps = options.timesteps
    experiment.trainer.run_directory = os.path.join("logs", "aquaml", options.task)
    experiment.trainer.run_name = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    env = IsaacLabWrapper(gymnasium.make(options.task, cfg=env_cfg), clip_actions=options.clip_actions)
    trainer = make_trainer(env, experiment)
    trainer.train(resume=options.resume)
    experiment.save(os.path.join(str(trainer.run_folder), "params", "agent.yaml"))
    print("The run is in {}".format(trainer.run_folder))
    env.close()


if __name__ == "__main__":
    main()
