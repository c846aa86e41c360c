"""Train PPO with memory on a pendulum whose velocity is hidden, and evaluate it.

A policy that sees only the angle cannot tell which way the pendulum swings; one that remembers the steps before can.

Run ``python examples/recurrent_pendulum.py``; ``--help`` lists the options.
"""

import argparse
from typing import Dict, List, Optional

import gymnasium
import numpy as np
import torch
from torch import nn

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import GaussianModel, Model, ModelCfg, RecurrentEncoder
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


class PendulumWithoutVelocity(gymnasium.ObservationWrapper):
    """Pendulum-v1 of which only cosine and sine of the angle are seen."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("Pendulum-v1"))
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Leave the velocity out."""
        return observation[:2]


class RecurrentPolicy(GaussianModel):
    """The mean torque depends on all that was seen in the episode."""

    def __init__(self, model_cfg: ModelCfg, cell: str) -> None:
        super().__init__(model_cfg)
        self.encoder = RecurrentEncoder(2, 64, cell)
        self.recurrent_state = self.encoder.recurrent_state
        self.net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        self.log_std_parameter = nn.Parameter(torch.zeros(1))

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        """Return the mean torque of every step, and the states after the last one."""
        features, states = self.encoder(data_dict["state"], data_dict, data_dict["resets"])
        return dict(states, mean_actions=self.net(features))


class RecurrentValue(Model):
    """The expected return, with a memory of its own."""

    def __init__(self, model_cfg: ModelCfg, cell: str) -> None:
        super().__init__(model_cfg)
        self.encoder = RecurrentEncoder(2, 64, cell)
        self.recurrent_state = self.encoder.recurrent_state
        self.net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        """Return the value of every step, and the states after the last one."""
        features, states = self.encoder(data_dict["state"], data_dict, data_dict["resets"])
        return dict(states, values=self.net(features))


def main(arguments: Optional[List[str]] = None) -> None:
    """Train and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--timesteps", type=int, default=12_800, help="vector steps; times num-envs environment steps")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    parser.add_argument("--cell", choices=("gru", "lstm"), default="gru")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper(PendulumWithoutVelocity, num_envs=options.num_envs, action_bounds="rescale")
    model_cfg = ModelCfg(inputs_name=["state"])
    models = {"policy": RecurrentPolicy(model_cfg, options.cell), "value": RecurrentValue(model_cfg, options.cell)}
    ppo_cfg = PPOCfg(
        device=options.device,
        rollouts=64,
        sequence_length=16,
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
    agent = PPO(models, ppo_cfg)
    SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed)).train()

    test_env = GymnasiumWrapper(PendulumWithoutVelocity, num_envs=min(options.episodes, 20), action_bounds="rescale")
    summary = SequentialTrainer(test_env, agent, TrainerConfig(seed=10_000)).eval(episodes=options.episodes)
    print("Deterministic return over {} episodes: {:.1f}".format(summary.episodes, summary.return_mean))


if __name__ == "__main__":
    main()
