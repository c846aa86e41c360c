"""What one update of A2C does, in numbers."""

import math
from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from scripted import SpaceEnv, batch_of, drive, known_agent, small_agent, wrap

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import ConfigError
from AquaML.learning.reinforcement.on_policy.a2c import A2C, A2CCfg
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.reinforcement.schedulers import KLAdaptiveLR

spaces = gymnasium.spaces
BOX = spaces.Box(-2.0, 2.0, (3,), np.float32)


def box_env() -> GymnasiumWrapper:
    return GymnasiumWrapper(lambda: SpaceEnv(BOX, spaces.Box(-1.0, 1.0, (2,), np.float32)), num_envs=3)


def test_gradient_of_the_policy_loss() -> None:
    agent = known_agent(lambda s: s[:, :1], A2C)
    policy = agent.policy
    policy.mean.data.fill_(0.5)
    policy.log_std_parameter.data.fill_(math.log(2.0))
    batch = batch_of([0.0, 0.0], [2.0, -1.0])
    evaluated = policy.evaluate(batch.states, torch.tensor([[1.5], [-0.5]]))
    loss = agent.policy_loss(batch, evaluated)
    # Both actions are one unit from the mean: log p = -1/8 - log 2 - log(2 pi) / 2.
    log_prob = -0.125 - math.log(2.0) - 0.5 * math.log(2.0 * math.pi)
    assert loss.item() == pytest.approx(-(2.0 - 1.0) / 2.0 * log_prob, rel=1e-6)
    loss.backward()
    # d log p / d mean = (a - mean) / std^2 = ±0.25, d log p / d log_std = (a - mean)^2 / std^2 - 1 = -0.75.
    assert float(policy.mean.grad) == pytest.approx(-(2.0 * 0.25 - 1.0 * -0.25) / 2.0, rel=1e-6)
    assert float(policy.log_std_parameter.grad) == pytest.approx(-(2.0 * -0.75 - 1.0 * -0.75) / 2.0, rel=1e-6)


def test_an_update_descends_what_was_computed_by_hand() -> None:
    agent = known_agent(
        lambda s: torch.zeros_like(s[:, :1]),
        A2C,
        rollouts=2,
        discount_factor=0.5,
        gae_lambda=1.0,
        advantage_normalization="none",
        grad_norm_clip=None,
        entropy_loss_scale=0.25,
        learning_rate=0.01,
    )
    drive(wrap("own", [[([1.0, 3.0], "terminated")]]), agent, 2, learn=False)
    first, second = agent.memory.rollout()["action:action"].flatten().tolist()
    agent.update()
    # Returns 1 + 3 / 2 and 3 against values of 0; the acting policy is the standard normal.
    by_mean = -(2.5 * first + 3.0 * second) / 2.0
    by_deviation = -(2.5 * (first**2 - 1.0) + 3.0 * (second**2 - 1.0)) / 2.0 - 0.25
    assert float(agent.policy.mean.grad) == pytest.approx(by_mean, rel=1e-5)
    assert float(agent.policy.log_std_parameter.grad) == pytest.approx(by_deviation, rel=1e-5)
    # Adam's first step is as long as the learning rate, downhill.
    assert float(agent.policy.mean.detach()) == pytest.approx(-math.copysign(0.01, by_mean), rel=1e-4)
    assert float(agent._metrics["loss/value"][0]) == pytest.approx((2.5**2 + 3.0**2) / 2.0)


class Watching(A2C):
    """Keeps the rows of every minibatch."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.minibatches: List[torch.Tensor] = []

    def policy_loss(self, minibatch: Batch, evaluated: Any) -> torch.Tensor:
        self.minibatches.append(minibatch.log_prob[:, 0].clone())
        return super().policy_loss(minibatch, evaluated)


@pytest.mark.parametrize("mini_batches", [1, 5])
def test_an_update_takes_one_pass_with_each_row_once(mini_batches: int) -> None:
    agent = small_agent(box_env(), Watching, mini_batches=mini_batches)
    drive(box_env(), agent, 8, learn=False)
    stored = agent.memory.rollout()["log_prob"].flatten().clone()
    agent.update()
    assert len(agent.minibatches) == mini_batches
    assert torch.equal(torch.cat(agent.minibatches).sort()[0], stored.sort()[0])


def test_the_gradient_is_that_of_ppo_before_its_first_step() -> None:
    gradients: List[Dict[str, torch.Tensor]] = []
    options: Dict[str, Any] = dict(mini_batches=1, grad_norm_clip=None, entropy_loss_scale=0.01, learning_rate=1e-3)
    for kind, more in ((A2C, {}), (PPO, {"learning_epochs": 1, "value_clip": None})):
        torch.manual_seed(4)
        env = box_env()
        agent = small_agent(env, kind, **dict(options, **more))
        drive(env, agent, 8)
        gradients.append({name: value.grad for name, value in agent.policy.named_parameters()})
        gradients[-1].update({"value." + name: value.grad for name, value in agent.value.named_parameters()})
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scheduler", ["KLAdaptiveLR", KLAdaptiveLR])
def test_a_schedule_by_divergence_is_refused_since_one_pass_sees_none(scheduler: Any) -> None:
    # The rate would rise to its bound: the first minibatch is judged by the policy that acted.
    env = box_env()
    agent = small_agent(env, A2C, mini_batches=1)
    drive(env, agent, 8)
    assert abs(agent._metrics["policy/kl"][0]) < 1e-6
    with pytest.raises(ConfigError, match="A2CCfg.learning_rate_scheduler is .*KLAdaptiveLR.*; expected another one"):
        small_agent(env, A2C, learning_rate_scheduler=scheduler)


def test_the_defaults_are_short_rollouts_and_one_minibatch() -> None:
    cfg = A2CCfg()
    assert (cfg.rollouts, cfg.mini_batches, cfg.learning_rate, cfg.grad_norm_clip) == (16, 1, 7e-4, 0.5)
