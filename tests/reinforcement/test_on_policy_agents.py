"""What all on-policy agents share: time limits, rows that only reset, and the guard against NaN."""

import math
from typing import Any, Dict

import pytest
import torch
from scripted import MODES, PlainPolicy, drive, known_agent, parameters_of, passes, small_agent, wrap
from torch import nn

from AquaML.errors import NonFiniteError
from AquaML.learning.model import Model, ModelCfg
from AquaML.learning.reinforcement.on_policy.a2c import A2C
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.reinforcement.on_policy.rpo import RPO
from AquaML.learning.reinforcement.on_policy.trpo import TRPO, TRPOCfg
from AquaML.stateful import RUN, collect_states

KINDS = [A2C, PPO, RPO, TRPO]
PLANS = [
    [([1.0, 2.0, 0.5], "truncated"), ([0.3], "terminated"), ([1.0, -1.0], "both")],
    [([0.1, 0.2], "terminated"), ([1.0, 2.0, 3.0, 4.0], "truncated")],
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_advantages_at_time_limits_by_hand(kind: Any, mode: str) -> None:
    # gamma = lambda = 1/2, V = clock + 10 * episode, rewards 1, 2 | 3, 4; the first episode is cut off, the other ends.
    env = wrap(mode, [[([1.0, 2.0], "truncated"), ([3.0, 4.0], "terminated")]])
    rows = 5 if mode == "next_step" else 4
    agent = known_agent(lambda s: s[:, :1] + 10.0 * s[:, 1:], kind, rollouts=rows, discount_factor=0.5, gae_lambda=0.5)
    drive(env, agent, rows, learn=False)
    rollout = agent.memory.rollout()
    found = agent.prepare_batch(rollout).advantages[rollout["valid"].reshape(-1) if "valid" in rollout else slice(None)]
    torch.testing.assert_close(found.flatten(), torch.tensor([2.0, 2.0, -3.25, -7.0]), rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_row_that_only_resets_holds_reaches_nothing(kind: Any) -> None:
    trained = []
    for spoil in (None, lambda value: torch.full_like(value, math.nan)):
        torch.manual_seed(7)
        env = wrap("next_step", PLANS)
        agent = small_agent(env, kind, rollouts=7)
        drive(env, agent, 5 * 7, spoil=spoil)
        trained.append(parameters_of(agent))
    for name, value in trained[0].items():
        assert torch.equal(value, trained[1][name]), name
        assert bool(torch.isfinite(value.double()).all()), name


class Policy(PlainPolicy):
    """A constant mean whose value, gradient or curvature can be spoiled."""

    spoiled = ""

    def compute(self, data_dict: torch.Tensor) -> torch.Tensor:
        mean = super().compute(data_dict)
        if self.spoiled == "gradient":
            # 0 and, as the derivative of the root is infinite there, with a gradient of NaN.
            mean = mean + (self.mean * 0.0).sqrt()
        if self.spoiled == "curvature":
            # 0 with a first derivative of 0 and a second one of infinity.
            mean = mean + (self.mean - self.mean.detach()).abs().pow(1.5)
        return mean


class Value(Model):
    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.net = nn.Linear(2, 1)

    def compute(self, data_dict: torch.Tensor) -> torch.Tensor:
        return self.net(data_dict)


def spoil_gradient(agent: Any) -> None:
    agent.policy.spoiled = "gradient"


def spoil_value_loss(agent: Any) -> None:
    agent.value_loss = lambda minibatch, values: values.mean() * math.nan


def spoil_policy_loss(agent: Any) -> None:
    agent.policy_loss = lambda minibatch, evaluated: evaluated["log_prob"].mean() * math.inf


@pytest.mark.parametrize("non_finite", ["raise", "skip"])
@pytest.mark.parametrize("spoil", [spoil_gradient, spoil_value_loss, spoil_policy_loss])
@pytest.mark.parametrize("kind", KINDS)
def test_nan_in_an_update_leaves_everything_as_it_was(kind: Any, spoil: Any, non_finite: str) -> None:
    torch.manual_seed(0)
    settings: Dict[str, Any] = dict(
        device="cpu", rollouts=6, mini_batches=2, non_finite=non_finite, learning_rate_scheduler="ExponentialLR"
    )
    settings.update(learning_rate_scheduler_kwargs={"gamma": 0.9}, scheduler_interval="update", **passes(kind, 2))
    agent = kind({"policy": Policy(), "value": Value()}, kind.config_class(**settings))
    env = wrap("own", PLANS)
    drive(env, agent, 6)
    drive(env, agent, 6, learn=False)
    before = state_of(agent)
    spoil(agent)
    with pytest.raises(NonFiniteError):
        agent.update()
    after = state_of(agent)
    assert before.keys() == after.keys()
    # The schedule counts updates, failed ones too.
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {name for name in changed if name.startswith("scheduler") or name.endswith(".lr")}
    # And it learns again when the cause is gone.
    agent.policy.spoiled = ""
    for name in ("value_loss", "policy_loss"):
        vars(agent).pop(name, None)
    agent.update()
    assert any(not torch.equal(value, state_of(agent)[name]) for name, value in before.items() if "policy" in name)


def test_a_curvature_of_nan_is_an_error_and_no_step() -> None:
    agent = TRPO({"policy": Policy(), "value": Value()}, TRPOCfg(device="cpu", rollouts=6, mini_batches=2))
    drive(wrap("own", PLANS), agent, 6, learn=False)
    before = state_of(agent)
    agent.policy.spoiled = "curvature"
    with pytest.raises(NonFiniteError, match="its curvature is nan; the policy is as it was"):
        agent.update()
    assert all(torch.equal(value, state_of(agent)[name]) for name, value in before.items())


def state_of(agent: Any) -> Dict[str, torch.Tensor]:
    """Copies of all tensors and numbers of the parts that learn."""
    found: Dict[str, torch.Tensor] = {}

    def collect(place: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                collect("{}.{}".format(place, name), item)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                collect("{}.{}".format(place, index), item)
        elif isinstance(value, (torch.Tensor, int, float, bool)):
            found[place] = torch.as_tensor(value).clone()

    for name, state in collect_states([part for part in agent.parts if part.role != RUN]).items():
        collect(name, state)
    return found
