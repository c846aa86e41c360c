"""What distinguishes RPO from PPO, in numbers."""

import math
from typing import Any, Dict, List, Tuple

import gymnasium
import numpy as np
import pytest
import torch
from scripted import SpaceEnv, batch_of, drive, known_agent, parameters_of, small_agent

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.reinforcement.on_policy.rpo import RPO

spaces = gymnasium.spaces
BOX = spaces.Box(-2.0, 2.0, (3,), np.float32)
ACTION = spaces.Box(-1.0, 1.0, (2,), np.float32)


def env_of(actions: gymnasium.Space = ACTION) -> GymnasiumWrapper:
    return GymnasiumWrapper(lambda: SpaceEnv(BOX, actions), num_envs=3)


def trained(kind: Any, updates: int, **options: Any) -> Tuple[Dict[str, torch.Tensor], torch.Tensor]:
    """Return parameters after some updates, and all actions of the rollout that follows them."""
    torch.manual_seed(6)
    env = env_of()
    agent = small_agent(env, kind, **options)
    drive(env, agent, 8 * updates)
    drive(env, agent, 8, learn=False)
    return parameters_of(agent), agent.memory.rollout()["action:action"].clone()


def test_without_a_perturbation_it_is_ppo_to_the_bit() -> None:
    plain, moved = trained(PPO, 2), trained(RPO, 2, perturbation=0.0)
    assert plain[0].keys() == moved[0].keys()
    for name, value in plain[0].items():
        assert torch.equal(value, moved[0][name]), name
    assert torch.equal(plain[1], moved[1])


def test_with_one_it_acts_as_ppo_does_and_learns_something_else() -> None:
    # Before the first update the networks and the random stream are PPO's, so the actions are as well.
    assert torch.equal(trained(PPO, 0)[1], trained(RPO, 0)[1])
    plain, moved = trained(PPO, 1)[0], trained(RPO, 1)[0]
    assert not torch.equal(plain["policy.log_std_parameter"], moved["policy.log_std_parameter"])


class Watching(RPO):
    """Keeps how far the means of every minibatch were moved."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.offsets: List[torch.Tensor] = []

    def _moved(self, parameters: Any) -> Any:
        moved = super()._moved(parameters)
        assert torch.equal(moved["log_std"], parameters["log_std"])
        self.offsets.append((moved["mean_actions"] - parameters["mean_actions"]).detach())
        return moved


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_means_are_moved_uniformly_and_anew_for_each_minibatch(alpha: float) -> None:
    env = env_of()
    agent = small_agent(env, Watching, rollouts=64, perturbation=alpha)
    drive(env, agent, 64)
    assert len(agent.offsets) == 2 * 3
    assert not torch.equal(agent.offsets[0], agent.offsets[3])
    offsets = torch.cat(agent.offsets)
    assert offsets.shape == (2 * 64 * 3, 2)
    assert float(offsets.abs().max()) <= alpha + 1e-6
    # 768 numbers: the mean of a uniform one on ±alpha is 0 ± 0.02 alpha, its deviation alpha / sqrt 3 ± 2 %.
    assert abs(float(offsets.mean())) < 0.1 * alpha
    assert float(offsets.std()) == pytest.approx(alpha / math.sqrt(3.0), rel=0.1)
    # Both dimensions are moved, and not together.
    assert abs(float(torch.corrcoef(offsets.T)[0, 1])) < 0.2


def test_the_log_probability_is_that_of_the_moved_mean_and_nothing_else_changes() -> None:
    agent = known_agent(lambda s: s[:, :1], Watching, perturbation=0.5)
    agent.policy.mean.data.fill_(0.5)
    agent.policy.log_std_parameter.data.fill_(math.log(2.0))
    batch = batch_of([0.0] * 4, [1.0] * 4)
    batch.actions = {"action": torch.full((4, 1), 1.5)}
    evaluated, values = agent.evaluate(batch)
    (offsets,) = agent.offsets
    expected = -0.5 * ((1.5 - 0.5 - offsets) / 2.0).square() - math.log(2.0) - 0.5 * math.log(2.0 * math.pi)
    torch.testing.assert_close(evaluated["log_prob"].detach(), expected, rtol=1e-6, atol=1e-6)
    plain, plain_values = super(RPO, agent).evaluate(batch)
    for name in ("mean_actions", "log_std", "entropy"):
        assert torch.equal(evaluated[name], plain[name])
    assert torch.equal(values, plain_values)
    # d log p / d mean = (a - mean - offset) / std^2
    evaluated["log_prob"].sum().backward()
    assert float(agent.policy.mean.grad) == pytest.approx(float(((1.0 - offsets) / 4.0).sum()), rel=1e-5)


@pytest.mark.parametrize(
    "actions", [spaces.Discrete(3), spaces.Dict({"move": ACTION, "grip": spaces.Discrete(3)})], ids=["one", "mixed"]
)
def test_policies_without_a_mean_are_refused(actions: gymnasium.Space) -> None:
    with pytest.raises(AgentError, match="RPO moves the mean of a Gaussian policy, but the policy is a .*; use PPO"):
        small_agent(env_of(actions), RPO)
