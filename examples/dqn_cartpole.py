"""Deep Q-network on CartPole-v1: learns from a memory of what it tried, and tries less and less.

Run ``python examples/dqn_cartpole.py``; ``--help`` lists the options.
"""

import argparse
from typing import List, Optional

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_q_network
from AquaML.learning.reinforcement.off_policy import DQN, DQNCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, then evaluate on new episodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--timesteps", type=int, default=12_500, help="vector steps; times num-envs environment steps")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper("CartPole-v1", num_envs=options.num_envs)
    dqn_cfg = DQNCfg(
        learning_starts=min(125, options.timesteps // 2),
        gradient_steps=2,
        n_steps=3,
        target_interval=50,
        # Returns of 100 become 2: errors around the size of 1, beyond which the loss no longer tells them apart.
        reward_scale=0.02,
        exploration_share=0.2,
        learning_rate=1e-3,
        learning_rate_scheduler="LinearLR",
        learning_rate_scheduler_kwargs={"start_factor": 1.0, "end_factor": 0.02, "total_iters": options.timesteps},
    )
    agent = DQN(default_q_network(env.getEnvInfo()), dqn_cfg)
    SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed)).train()

    test_env = GymnasiumWrapper("CartPole-v1", num_envs=min(options.episodes, 20))
    summary = SequentialTrainer(test_env, agent, TrainerConfig(seed=10_000)).eval(episodes=options.episodes)
    print("Deterministic return over {} episodes: {:.1f}".format(summary.episodes, summary.return_mean))


if __name__ == "__main__":
    main()
