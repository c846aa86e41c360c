"""Compiled losses change parameters as eager ones do."""

from typing import Any, Dict

import gymnasium
import numpy as np
import pytest
import torch
from scripted import SpaceEnv, drive, parameters_of, small_agent

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import ConfigError
from AquaML.learning.reinforcement.on_policy.base import Batch
from AquaML.learning.reinforcement.on_policy.ppo import PPO

needs_compiler = pytest.mark.skipif(not hasattr(torch, "compile"), reason="torch.compile came with torch 2.0")


def environments() -> GymnasiumWrapper:
    box = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
    return GymnasiumWrapper(lambda: SpaceEnv(box, box), num_envs=4, seed=1)


class Regularised(PPO):
    """A loss of a user's own."""

    def extra_losses(self, minibatch: Batch, evaluated: Any) -> Dict[str, torch.Tensor]:
        return {"means": 0.1 * evaluated["mean_actions"].square().mean()}


def learned(compile_: bool) -> Dict[str, torch.Tensor]:
    torch.manual_seed(5)
    env = environments()
    agent = small_agent(env, Regularised, compile=compile_, mini_batches=2, entropy_loss_scale=0.01)
    drive(env, agent, 3 * agent.cfg.rollouts)
    return parameters_of(agent)


@needs_compiler
def test_compiled_losses_are_the_eager_ones() -> None:
    eager, fast = learned(False), learned(True)
    assert set(eager) == set(fast) and len(eager) > 10
    for name, value in eager.items():
        assert torch.allclose(value, fast[name], atol=1e-5), name


# The counterpart of the test above for torch before 2.0, which the run on Python 3.8 has.
@pytest.mark.skipif(hasattr(torch, "compile"), reason="this torch compiles")
def test_a_torch_that_cannot_compile_says_so() -> None:
    with pytest.raises(ConfigError, match="compile=True needs torch 2.0"):
        small_agent(environments(), compile=True)
