"""FastSAC on HalfCheetah-v5: a running robot in a few minutes, on a processor of two cores.

Run ``python examples/fast_sac_half_cheetah.py``; ``--help`` lists the options. It needs MuJoCo:
``pip install "AquaML[mujoco]"``.
"""

import argparse
from typing import List, Optional

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_actor_critic
from AquaML.learning.reinforcement.off_policy import FastSAC, FastSACCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, then evaluate on new episodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--timesteps", type=int, default=10_000, help="vector steps; times num-envs environment steps")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper("HalfCheetah-v5", num_envs=options.num_envs)
    cfg = FastSACCfg(batch_size=options.batch_size)
    models = default_actor_critic(env.getEnvInfo(), hidden_sizes=(128, 128), layer_norm=True, atoms=cfg.atoms)
    agent = FastSAC(models, cfg)
    SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed)).train()

    test_env = GymnasiumWrapper("HalfCheetah-v5", num_envs=min(options.episodes, 20))
    summary = SequentialTrainer(test_env, agent, TrainerConfig(seed=10_000)).eval(episodes=options.episodes)
    print("Deterministic return over {} episodes: {:.1f}".format(summary.episodes, summary.return_mean))


if __name__ == "__main__":
    main()
