"""Advantage actor-critic on CartPole-v1: one pass over short rollouts, in many small updates.

Run ``python examples/a2c_cartpole.py``; ``--help`` lists the options.
"""

import argparse
from typing import List, Optional

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.a2c import A2C, A2CCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, then evaluate on new episodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--timesteps", type=int, default=18_750, help="vector steps; times num-envs environment steps")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper("CartPole-v1", num_envs=options.num_envs)
    a2c_cfg = A2CCfg(
        rollouts=8,
        learning_rate=1e-3,
        gae_lambda=0.9,
        entropy_loss_scale=0.01,
        learning_rate_scheduler="LinearLR",
        learning_rate_scheduler_kwargs={
            "start_factor": 1.0,
            "end_factor": 0.1,
            "total_iters": max(1, options.timesteps // 8),
        },
    )
    agent = A2C(default_models(env.getEnvInfo()), a2c_cfg)
    SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed)).train()

    test_env = GymnasiumWrapper("CartPole-v1", num_envs=min(options.episodes, 20))
    summary = SequentialTrainer(test_env, agent, TrainerConfig(seed=10_000)).eval(episodes=options.episodes)
    print("Deterministic return over {} episodes: {:.1f}".format(summary.episodes, summary.return_mean))


if __name__ == "__main__":
    main()
