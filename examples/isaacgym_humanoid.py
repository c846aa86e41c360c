"""Train PPO on Isaac Gym's Humanoid, with the settings of AquaML's first Isaac Gym benchmark.

Run ``python examples/isaacgym_humanoid.py`` where Isaac Gym and isaacgymenvs are installed: Linux with an NVIDIA GPU,
Python 3.7 or 3.8.

256 environments, 64 steps in each rollout, two minibatches of 8,192 rows, 4 passes, two layers of 256 with ReLU. Two
figures are logged: the return of episodes, and "window/return_mean", the sum of rewards over 1,000 vector steps
averaged over environments, falls included, which the curves of that benchmark show.
"""

import argparse
from typing import Any, Dict, List, Optional

# Before everything else: Isaac Gym must be imported before torch, and AquaML loads torch only where it is used.
from AquaML.environment.isaac_gym_import import import_isaac_gym

PRESET: Dict[str, Any] = {
    "networks": {"hidden_sizes": [256, 256], "activation": "relu"},
    "agent": {
        "rollouts": 64,
        "mini_batches": 2,
        "learning_epochs": 4,
        "ratio_clip": 0.2,
        "entropy_loss_scale": 0.0,
        "learning_rate": 3e-4,
        "kl_threshold": 0.01,
    },
    "trainer": {"timesteps": 113_000, "seed": 0},
}
"""113,000 vector steps of 256 environments are 29 million environment steps."""


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, and play 100 episodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="Humanoid")
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--timesteps", type=int, default=PRESET["trainer"]["timesteps"], help="vector steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda:0", help="of the simulation and of the networks")
    parser.add_argument("--show", action="store_true", help="open Isaac Gym's viewer")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    options = parser.parse_args(arguments)

    import_isaac_gym()
    # From here on torch may be loaded.
    from AquaML.environment import IsaacGymWrapper
    from AquaML.learning.trainers import ExperimentCfg, WindowReturn, make_trainer

    env = IsaacGymWrapper(
        options.task,
        num_envs=options.num_envs,
        seed=options.seed,
        sim_device=options.device,
        rl_device=options.device,
        headless=not options.show,
    )
    experiment = ExperimentCfg.of(PRESET)
    experiment.agent.device = options.device
    experiment.trainer.seed = options.seed
    experiment.trainer.timesteps = options.timesteps
    trainer = make_trainer(env, experiment, hooks=[WindowReturn(1000)])
    trainer.train()
    figures = trainer.get_status()["figures"]
    print("Sum of rewards over 1,000 steps: {:.1f}".format(figures.get("window/return_mean", float("nan"))))
    summary = trainer.eval(episodes=options.episodes)
    print("Deterministic return over {} episodes: {:.1f}".format(summary.episodes, summary.return_mean))


if __name__ == "__main__":
    main()
