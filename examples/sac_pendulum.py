"""Soft actor-critic on Pendulum-v1: earns reward and stays as random as it can afford.

Run ``python examples/sac_pendulum.py``; ``--help`` lists the options.
"""

import argparse
from typing import List, Optional

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_actor_critic
from AquaML.learning.reinforcement.off_policy import SAC, SACCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, then evaluate on new episodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timesteps", type=int, default=20_000, help="environment steps, of one environment")
    parser.add_argument("--random-timesteps", type=int, default=1_000, help="steps before learning begins")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper("Pendulum-v1", action_bounds="rescale")
    sac_cfg = SACCfg(
        memory_size=20_000,
        batch_size=128,
        random_timesteps=options.random_timesteps,
        learning_starts=options.random_timesteps,
        learning_rate=1e-3,
    )
    models = default_actor_critic(env.getEnvInfo(), hidden_sizes=(64, 64))
    agent = SAC(models, sac_cfg)
    SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed)).train()

    test_env = GymnasiumWrapper("Pendulum-v1", num_envs=min(options.episodes, 20), action_bounds="rescale")
    summary = SequentialTrainer(test_env, agent, TrainerConfig(seed=10_000)).eval(episodes=options.episodes)
    print("Deterministic return over {} episodes: {:.1f}".format(summary.episodes, summary.return_mean))


if __name__ == "__main__":
    main()
