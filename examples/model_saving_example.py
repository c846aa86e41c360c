"""Save an agent, load it without any environment, and go on from it.

Run ``python examples/model_saving_example.py``; ``--help`` lists the options.
"""

import argparse
from pathlib import Path
from typing import List, Optional

import numpy as np

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


def new_agent(env: GymnasiumWrapper) -> PPO:
    """Make an agent with fresh networks for an environment."""
    return PPO(default_models(env.getEnvInfo()), PPOCfg(rollouts=64, learning_rate=1e-3))


def main(arguments: Optional[List[str]] = None) -> None:
    """Train a little, save, load, compare, and warm-start another agent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timesteps", type=int, default=2_000, help="vector steps")
    parser.add_argument("--output", type=Path, default=Path("models/pendulum.pt"))
    options = parser.parse_args(arguments)

    AquaML.seed_everything(0)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=8)
    agent = new_agent(env)
    SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=0)).train()

    # Weights, normalisers, optimiser and spaces; no pickle, whatever the suffix.
    agent.save(options.output)

    # A robot needs no environment: the file knows the spaces and the normalisers.
    loaded = new_agent(env)
    loaded.load(options.output)
    observation = np.array([1.0, 0.0, 0.5], dtype=np.float32)
    print("Action of the trained agent: {}".format(agent.predict(observation)))
    print("Action of the loaded agent:  {}".format(loaded.predict(observation)))

    # A warm start takes over single parts.
    warm = new_agent(env)
    warm.load(options.output, only=["policy", "observation_normalizer/state"])
    print("Action of the warm start:    {}".format(warm.predict(observation)))


if __name__ == "__main__":
    main()
