"""The shortest way to train: ready-made networks, a handful of settings.

Run ``python examples/simple_ppo_pendulum.py``; ``--help`` lists the options.
"""

import argparse
from typing import List, Optional

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


def main(arguments: Optional[List[str]] = None) -> None:
    """Train and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="Pendulum-v1", help="any Gymnasium environment id")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--timesteps", type=int, default=10_000, help="vector steps")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper(options.env, num_envs=options.num_envs)
    cfg = PPOCfg(rollouts=64, learning_epochs=8, mini_batches=8, learning_rate=1e-3, discount_factor=0.95)
    agent = PPO(default_models(env.getEnvInfo()), cfg)
    trainer = SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed))
    trainer.train()
    print(trainer.eval(episodes=20))


if __name__ == "__main__":
    main()
