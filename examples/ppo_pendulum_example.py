"""Train PPO on Pendulum-v1 with networks written by hand, evaluate it and save it.

Run ``python examples/ppo_pendulum_example.py``; ``--help`` lists the options.
"""

import argparse
from typing import Dict, List, Optional

import torch
from torch import nn

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import GaussianModel, Model, ModelCfg
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


class PendulumPolicy(GaussianModel):
    """The mean torque depends on the state, the standard deviation is free."""

    def __init__(self, model_cfg: ModelCfg) -> None:
        super().__init__(model_cfg)
        self.net = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        self.log_std_parameter = nn.Parameter(torch.zeros(1))

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        """Return mean and standard deviation of the torque, -1 … 1 being the full range."""
        mean = self.net(data_dict["state"])
        return {"mean_actions": mean, "log_std": self.log_std_parameter.expand_as(mean)}


class PendulumValue(Model):
    """The expected return of a state."""

    def __init__(self, model_cfg: ModelCfg) -> None:
        super().__init__(model_cfg)
        self.net = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        """Return the value."""
        return {"values": self.net(data_dict["state"])}


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, evaluate, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--timesteps", type=int, default=12_800, help="vector steps; times num-envs environment steps")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", default="trained_model.pt")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=options.num_envs, action_bounds="rescale")
    model_cfg = ModelCfg(inputs_name=["state"])
    models = {"policy": PendulumPolicy(model_cfg), "value": PendulumValue(model_cfg)}
    ppo_cfg = PPOCfg(
        device=options.device,
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
    agent = PPO(models, ppo_cfg)
    trainer = SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed))
    trainer.train()
    agent.save(options.output)

    test_env = GymnasiumWrapper("Pendulum-v1", num_envs=min(options.episodes, 20), action_bounds="rescale")
    summary = SequentialTrainer(test_env, agent, TrainerConfig(seed=10_000)).eval(episodes=options.episodes)
    print("Deterministic return over {} episodes: {:.1f}".format(summary.episodes, summary.return_mean))


if __name__ == "__main__":
    main()
