"""What one update of TRPO does, in numbers."""

import math
from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import PlainPolicy, SpaceEnv, batch_of, drive, known_agent, small_agent, wrap

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError, ConfigError
from AquaML.learning.model import CategoricalModel, GaussianModel, ModelCfg
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.trpo import TRPO, TRPOCfg, conjugate_gradient

spaces = gymnasium.spaces
BOX = spaces.Box(-2.0, 2.0, (3,), np.float32)
ACTIONS = {
    "gaussian": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "categorical": spaces.Discrete(4, start=2),
    "multi_categorical": spaces.MultiDiscrete([3, 2, 4]),
    "composite": spaces.Dict({"move": spaces.Box(-1.0, 1.0, (2,), np.float32), "grip": spaces.Discrete(3)}),
}


def env_of(kind: str = "gaussian") -> GymnasiumWrapper:
    return GymnasiumWrapper(lambda: SpaceEnv(BOX, ACTIONS[kind]), num_envs=3)


# ---------------------------------------------------------------------- the linear solver


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 8), seed=st.integers(0, 10_000), spread=st.floats(0.0, 2.0))
def test_conjugate_gradient_solves_in_as_many_steps_as_there_are_unknowns(size: int, seed: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    factor = spread * torch.randn(size, size, generator=generator, dtype=torch.float64)
    matrix = factor @ factor.T + torch.eye(size, dtype=torch.float64)
    target = torch.randn(size, generator=generator, dtype=torch.float64)
    found = conjugate_gradient(lambda vector: matrix @ vector, target, 2 * size, tolerance=1e-24)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, target), rtol=1e-6, atol=1e-8)


def test_conjugate_gradient_stops_early_and_where_there_is_nothing() -> None:
    products: List[torch.Tensor] = []

    def identity(vector: torch.Tensor) -> torch.Tensor:
        products.append(vector)
        return vector

    target = torch.tensor([3.0, -4.0])
    assert torch.equal(conjugate_gradient(identity, target, 10), target)
    assert len(products) == 1
    assert torch.equal(conjugate_gradient(identity, torch.zeros(2), 10), torch.zeros(2))
    assert len(products) == 1
    # What a singular matrix does not see is left out: only the first component has an image.
    found = conjugate_gradient(lambda v: torch.stack([2.0 * v[0], 0.0 * v[1]]), torch.tensor([0.0, 1.0]), 10)
    assert torch.equal(found, torch.zeros(2))


def test_one_step_of_conjugate_gradient_by_hand() -> None:
    matrix = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    # r = (1, 1), A r = (2, 1), so the length is 2 / 3.
    found = conjugate_gradient(lambda vector: matrix @ vector, torch.ones(2), 1)
    torch.testing.assert_close(found, torch.full((2,), 2.0 / 3.0))


# ---------------------------------------------------------------------- the curvature


class Exact(GaussianModel):
    """A linear Gaussian policy in float64."""

    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], device="cpu"))
        self.net = torch.nn.Linear(2, 1)
        self.log_std_parameter = torch.nn.Parameter(torch.full((1,), -0.3))
        self.double()

    def compute(self, data_dict: Any) -> torch.Tensor:
        return torch.tanh(self.net(data_dict["state"]))

    def parameters_of(self, outputs: Any, rows: int) -> Any:
        mean = outputs["mean_actions"]
        return {"mean_actions": mean, "log_std": self.log_std_parameter.expand_as(mean)}


class ExactChoice(CategoricalModel):
    """Three categories in float64."""

    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], device="cpu"))
        self.net = torch.nn.Linear(2, 3).double()

    def compute(self, data_dict: Any) -> torch.Tensor:
        return self.net(data_dict["state"])

    def parameters_of(self, outputs: Any, rows: int) -> Any:
        name = self.output_name
        return {name: torch.log_softmax(outputs[name], dim=-1)}


@pytest.mark.parametrize("kind", [Exact, ExactChoice])
def test_the_curvature_is_the_second_derivative_of_the_divergence(kind: Any) -> None:
    torch.manual_seed(3)
    agent = known_agent(lambda s: s[:, :1], TRPO, damping=0.25)
    policy = kind()
    agent.policy, agent._policy_parameters = policy, list(policy.parameters())
    batch = batch_of([0.0] * 5, [0.0] * 5)
    batch.states = {"state": torch.randn(5, 2, dtype=torch.float64)}
    batch.actions = {"action": torch.zeros(5, 1, dtype=torch.float64 if kind is Exact else torch.int64)}
    with torch.no_grad():
        batch.parameters = policy.parameters_of(policy.outputs(batch.states), 5)
    start, step = agent._policy_vector(), 1e-3
    size = len(start)

    def divergence(vector: torch.Tensor) -> float:
        torch.nn.utils.vector_to_parameters(vector, agent._policy_parameters)
        with torch.no_grad():
            return float(agent._divergence(batch))

    units = step * torch.eye(size, dtype=torch.float64)
    hessian = torch.zeros(size, size, dtype=torch.float64)
    for i in range(size):
        for j in range(size):
            corners = [divergence(start + a * units[i] + b * units[j]) * a * b for a in (1, -1) for b in (1, -1)]
            hessian[i, j] = sum(corners) / (4.0 * step**2)
    divergence(start)
    product = agent._curvature(batch)
    found = torch.stack([product(unit) for unit in torch.eye(size, dtype=torch.float64)])
    torch.testing.assert_close(found, hessian + 0.25 * torch.eye(size, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    assert float(hessian.abs().max()) > 0.1


# ---------------------------------------------------------------------- the step


def test_a_step_by_hand() -> None:
    agent = known_agent(
        lambda s: torch.zeros_like(s[:, :1]),
        TRPO,
        rollouts=2,
        discount_factor=0.5,
        gae_lambda=1.0,
        advantage_normalization="none",
        max_divergence=0.02,
        damping=0.1,
        accepted_share=0.0,
    )
    policy = agent.policy
    policy.log_std_parameter.data.fill_(math.log(0.5))
    policy.log_std_parameter.requires_grad_(False)
    agent._policy_parameters = [policy.mean]
    drive(wrap("own", [[([1.0, 3.0], "terminated")]]), agent, 2, learn=False)
    first, second = agent.memory.rollout()["action:action"].flatten().tolist()
    agent.update()
    # Advantages 5/2 and 3; d log p / d mean = a / std^2; the Fisher matrix of a mean is 1 / std^2 = 4.
    gradient = (2.5 * first + 3.0 * second) / 2.0 * 4.0
    step = math.copysign(math.sqrt(2.0 * 0.02 / 4.1), gradient)
    assert float(policy.mean.detach()) == pytest.approx(step, rel=1e-5)
    figures = agent._metrics
    assert figures["policy/kl"][0] == pytest.approx(step**2 / (2.0 * 0.25), rel=1e-4)
    assert figures["policy/gradient_norm"][0] == pytest.approx(abs(gradient), rel=1e-5)
    assert figures["policy/step"][0] == 1.0


class Watching(TRPO):
    """Measures surrogate and divergence around every step, and counts the value function's steps."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.steps: List[Dict[str, float]] = []
        self.value_rows: List[torch.Tensor] = []

    def _step_policy(self, batch: Batch) -> Any:
        with torch.no_grad():
            before = float(self._surrogate(batch))
        measured = super()._step_policy(batch)
        with torch.no_grad():
            after, divergence = float(self._surrogate(batch)), float(self._divergence(batch))
        self.steps.append({"before": before, "after": after, "kl": divergence, "share": measured["policy/step"]})
        return measured

    def value_loss(self, minibatch: Batch, values: torch.Tensor) -> torch.Tensor:
        self.value_rows.append(minibatch.log_prob[:, 0].clone())
        return super().value_loss(minibatch, values)


@pytest.mark.parametrize("max_divergence", [0.001, 0.05, 2.0])
@pytest.mark.parametrize("kind", sorted(ACTIONS))
def test_no_step_leaves_the_trust_region_or_makes_the_surrogate_fall(kind: str, max_divergence: float) -> None:
    env = env_of(kind)
    agent = small_agent(env, Watching, rollouts=16, max_divergence=max_divergence)
    drive(env, agent, 6 * 16)
    assert len(agent.steps) == 6
    for step in agent.steps:
        assert step["kl"] <= max_divergence
        assert step["after"] >= step["before"]
        assert (step["share"] > 0.0) == (step["after"] > step["before"])
    assert sum(step["share"] > 0.0 for step in agent.steps) >= 4
    if max_divergence < 1.0:
        assert max(step["kl"] for step in agent.steps) > 0.3 * max_divergence


def test_the_value_function_takes_its_passes_with_each_row_once() -> None:
    env = env_of()
    agent = small_agent(env, Watching, mini_batches=5, value_epochs=3)
    drive(env, agent, 8, learn=False)
    stored = agent.memory.rollout()["log_prob"].flatten().clone()
    agent.update()
    assert len(agent.value_rows) == 15
    for epoch in range(3):
        rows = torch.cat(agent.value_rows[5 * epoch : 5 * epoch + 5])
        assert torch.equal(rows.sort()[0], stored.sort()[0])
    assert [group["name"] for group in agent.optimizer.param_groups] == ["value"]
    held = {id(item) for item in agent.optimizer.param_groups[0]["params"]}
    assert held == {id(item) for item in agent.value.parameters()}


class Promises(TRPO):
    """A surrogate that always turns out worse than promised."""

    calls = 0

    def _surrogate(self, batch: Batch) -> torch.Tensor:
        self.calls += 1
        return super()._surrogate(batch) - (1.0 if self.calls > 1 else 0.0)


def test_an_improvement_that_does_not_come_leaves_the_policy_as_it_was() -> None:
    env = env_of("composite")
    agent = small_agent(env, Promises, line_search_steps=7)
    before = [parameter.clone() for parameter in agent.policy.parameters()]
    values = [parameter.clone() for parameter in agent.value.parameters()]
    drive(env, agent, 8)
    assert agent.calls == 1 + 7
    assert all(torch.equal(a, b) for a, b in zip(before, agent.policy.parameters()))
    assert not all(torch.equal(a, b) for a, b in zip(values, agent.value.parameters()))
    assert agent._metrics["policy/step"][0] == agent._metrics["policy/kl"][0] == 0.0


def test_no_advantage_is_no_step() -> None:
    agent = known_agent(lambda s: torch.full_like(s[:, :1], 1.0), TRPO, rollouts=4, discount_factor=0.5)
    before = [parameter.clone() for parameter in agent.policy.parameters()]
    drive(wrap("own", [[([0.5, 0.5], "truncated")]]), agent, 4)
    assert all(torch.equal(a, b) for a, b in zip(before, agent.policy.parameters()))
    assert agent._metrics["policy/gradient_norm"][0] == 0.0


class Mirrored(TRPO):
    """Adds a loss of the policy and doubles the rows."""

    rows: List[int] = []

    def extra_losses(self, minibatch: Batch, evaluated: Any) -> Dict[str, torch.Tensor]:
        self.rows.append(len(minibatch.log_prob))
        return {"effort": 100.0 * evaluated["mean_actions"].square().mean()}

    def augment(self, minibatch: Batch) -> Batch:
        return minibatch.select(torch.arange(len(minibatch.log_prob)).repeat(2))


def test_own_losses_and_rows_count_in_the_surrogate() -> None:
    torch.manual_seed(2)
    env = env_of()
    agent = small_agent(env, Mirrored, advantage_normalization="none", max_divergence=0.5)
    with torch.no_grad():
        for parameter in agent.policy.parameters():
            parameter.add_(0.5)
    drive(env, agent, 8, learn=False)
    batch = agent.prepare_batch(agent.memory.rollout())

    def effort() -> float:
        with torch.no_grad():
            return float(agent.policy.act_deterministic(batch.states)["actions"].square().mean())

    before = effort()
    agent.update()
    assert set(agent.rows) == {2 * 24}
    assert effort() < before


# ---------------------------------------------------------------------- what is refused


def test_shared_networks_and_parameters_are_refused() -> None:
    with pytest.raises(AgentError, match="policy and value share parameters.*use two models"):
        small_agent(env_of(), TRPO, shared=True)
    policy, value = PlainPolicy(), PlainPolicy()
    value.mean = policy.mean
    with pytest.raises(AgentError, match="policy and value share parameters"):
        TRPO({"policy": policy, "value": value}, TRPOCfg(device="cpu"))
    for parameter in policy.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(AgentError, match="policy and value must both have parameters to learn"):
        TRPO({"policy": policy, "value": PlainPolicy()}, TRPOCfg(device="cpu"))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mixed_precision": "bf16"}, "mixed_precision is 'bf16'; expected False, for the curvature needs full"),
        ({"learning_rate_scheduler": "KLAdaptiveLR"}, "learning_rate_scheduler is 'KLAdaptiveLR'; expected another"),
        ({"entropy_loss_scale": 0.01}, "entropy_loss_scale is 0.01; expected 0, for the policy is not descended"),
        ({"value_learning_rate": 1e-3}, "value_learning_rate is 0.001; expected None; learning_rate is the value"),
        ({"advantage_normalization": "minibatch"}, "advantage_normalization is 'minibatch'; expected 'batch' or"),
        ({"max_divergence": 0.0}, "max_divergence is 0.0"),
        ({"line_search_shrinking": 1.0}, "line_search_shrinking is 1.0"),
    ],
)
def test_options_without_a_meaning_are_refused(options: Dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match="TRPOCfg." + message):
        small_agent(env_of(), TRPO, **options)
