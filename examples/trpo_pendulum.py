"""Trust region policy optimisation on Pendulum-v1: one step per update, as long as the divergence allows.

Run ``python examples/trpo_pendulum.py``; ``--help`` lists the options.
"""

import argparse
from typing import List, Optional

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.trpo import TRPO, TRPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, then evaluate on new episodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--timesteps", type=int, default=25_600, help="vector steps; times num-envs environment steps")
    parser.add_argument("--max-divergence", type=float, default=0.05, help="of the policy per update, in nats")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=options.num_envs, action_bounds="rescale")
    # A rollout is a whole episode. All environments begin theirs together, so that shorter ones would hold either the
    # swing-up or the balance, and every step, which is as long as the divergence allows, would unlearn the other.
    trpo_cfg = TRPOCfg(rollouts=200, mini_batches=25, discount_factor=0.9, max_divergence=options.max_divergence)
    agent = TRPO(default_models(env.getEnvInfo()), trpo_cfg)
    SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed)).train()

    test_env = GymnasiumWrapper("Pendulum-v1", num_envs=min(options.episodes, 20), action_bounds="rescale")
    summary = SequentialTrainer(test_env, agent, TrainerConfig(seed=10_000)).eval(episodes=options.episodes)
    print("Deterministic return over {} episodes: {:.1f}".format(summary.episodes, summary.return_mean))


if __name__ == "__main__":
    main()
