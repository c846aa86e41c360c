"""Robust policy optimisation on Pendulum-v1: PPO that has to be good for a neighbourhood of every mean.

Run ``python examples/rpo_pendulum.py``; ``--help`` lists the options.
"""

import argparse
from typing import List, Optional

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.rpo import RPO, RPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, then evaluate on new episodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--timesteps", type=int, default=12_800, help="vector steps; times num-envs environment steps")
    parser.add_argument("--perturbation", type=float, default=0.1, help="of the mean, 1 being the full torque")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=options.num_envs, action_bounds="rescale")
    rpo_cfg = RPOCfg(
        perturbation=options.perturbation,
        rollouts=64,
        learning_epochs=8,
        mini_batches=8,
        learning_rate=1e-3,
        discount_factor=0.9,
        learning_rate_scheduler="LinearLR",
        learning_rate_scheduler_kwargs={
            "start_factor": 1.0,
            "end_factor": 0.1,
            "total_iters": max(1, options.timesteps // 64),
        },
        scheduler_interval="update",
    )
    agent = RPO(default_models(env.getEnvInfo()), rpo_cfg)
    SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed)).train()

    test_env = GymnasiumWrapper("Pendulum-v1", num_envs=min(options.episodes, 20), action_bounds="rescale")
    summary = SequentialTrainer(test_env, agent, TrainerConfig(seed=10_000)).eval(episodes=options.episodes)
    print("Deterministic return over {} episodes: {:.1f}".format(summary.episodes, summary.return_mean))


if __name__ == "__main__":
    main()
