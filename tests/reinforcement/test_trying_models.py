"""Models are tried on made-up rows before training, and that leaves nothing behind."""

from typing import Any

import pytest
import torch

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_actor_critic, default_models
from AquaML.learning.reinforcement.off_policy import SAC, SACCfg
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg


class WithBatchNorm(torch.nn.Module):
    """A layer with running statistics before any network."""

    def __init__(self, network: torch.nn.Module, features: int) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(features)
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.network(self.norm(inputs))


@pytest.mark.parametrize("family", ["off policy", "on policy"])
def test_trying_models_before_training_moves_no_running_statistics(family: str) -> None:
    env = GymnasiumWrapper("Pendulum-v1", num_envs=2)
    info = env.getEnvInfo()
    if family == "off policy":
        models = default_actor_critic(info, hidden_sizes=(4,))
        models["policy"].network = WithBatchNorm(models["policy"].network, 3)
        agent: Any = SAC(models, SACCfg())
    else:
        models = default_models(info, hidden_sizes=(4,))
        models["policy"].heads.trunk = WithBatchNorm(models["policy"].heads.trunk, 3)
        agent = PPO(models, PPOCfg())
    agent.setup(info)
    agent.set_mode(training=True)
    agent.prepare_training()
    (norm,) = [module for module in models["policy"].modules() if isinstance(module, torch.nn.BatchNorm1d)]
    assert int(norm.num_batches_tracked) == 0 and norm.training
    assert torch.equal(norm.running_mean, torch.zeros(3))
