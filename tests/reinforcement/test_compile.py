"""Compiled losses change parameters as eager ones do."""

import importlib
from typing import Any, Dict

import gymnasium
import numpy as np
import pytest
import torch
from scripted import SpaceEnv, drive, parameters_of, small_agent

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import ConfigError
from AquaML.learning.reinforcement.on_policy.a2c import A2C
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.reinforcement.on_policy.rpo import RPO
from AquaML.learning.reinforcement.on_policy.trpo import TRPO

needs_compiler = pytest.mark.skipif(not hasattr(torch, "compile"), reason="torch.compile came with torch 2.0")


def environments() -> GymnasiumWrapper:
    box = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
    return GymnasiumWrapper(lambda: SpaceEnv(box, box), num_envs=4, seed=1)


class Regularised(PPO):
    """A loss of a user's own."""

    def extra_losses(self, minibatch: Batch, evaluated: Any) -> Dict[str, torch.Tensor]:
        return {"means": 0.1 * evaluated["mean_actions"].square().mean()}


def learned(compile_: bool, kind: Any = Regularised, **options: Any) -> Dict[str, torch.Tensor]:
    torch.manual_seed(5)
    env = environments()
    agent = small_agent(env, kind, compile=compile_, mini_batches=2, **options)
    drive(env, agent, 3 * agent.cfg.rollouts)
    return parameters_of(agent)


@needs_compiler
@pytest.mark.parametrize(
    "kind, options",
    [(Regularised, {"entropy_loss_scale": 0.01}), (A2C, {}), (RPO, {"perturbation": 0.0}), (TRPO, {})],
)
def test_compiled_losses_are_the_eager_ones(kind: Any, options: Dict[str, Any]) -> None:
    eager, fast = learned(False, kind, **options), learned(True, kind, **options)
    assert set(eager) == set(fast) and len(eager) > 10
    for name, value in eager.items():
        assert torch.allclose(value, fast[name], atol=1e-5), name


@needs_compiler
def test_nothing_interrupts_compiled_losses() -> None:
    counters = importlib.import_module("torch._dynamo.utils").counters
    counters.clear()
    learned(True)
    # What is broken off goes on in eager code: right, but hardly faster than without a compiler.
    assert counters["stats"]["unique_graphs"] > 0 and not counters["graph_break"]


@needs_compiler
def test_compiled_losses_with_moved_means_are_repeatable_and_moved() -> None:
    # Compiled code draws other numbers than eager code, from the same seed.
    first, again, still = learned(True, RPO), learned(True, RPO), learned(True, RPO, perturbation=0.0)
    name = "policy.log_std_parameter"
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], still[name])


# The counterpart of the test above for torch before 2.0, which the run on Python 3.8 has.
@pytest.mark.skipif(hasattr(torch, "compile"), reason="this torch compiles")
def test_a_torch_that_cannot_compile_says_so() -> None:
    with pytest.raises(ConfigError, match="compile=True needs torch 2.0"):
        small_agent(environments(), compile=True)
