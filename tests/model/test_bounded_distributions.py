"""Distributions on the range of an action: their densities, against torch's own and against numerical integrals."""

import math
from typing import Any, Dict

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions as reference

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.spaces import layout_of
from AquaML.errors import ModelError
from AquaML.learning.model import BetaModel, ModelCfg, SquashedGaussianModel, default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

LOW, HIGH = np.array([-2.0, 0.0, 5.0], np.float32), np.array([1.0, 10.0, 5.5], np.float32)
SPECS = layout_of(gymnasium.spaces.Box(LOW, HIGH), "action").specs
SCALAR = layout_of(gymnasium.spaces.Box(-3.0, 1.0, (1,)), "action").specs


class Squashed(SquashedGaussianModel):
    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        return {"mean_actions": data_dict["mean"], "log_std": data_dict["log_std"]}


class Beta(BetaModel):
    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        return {"alpha": data_dict["mean"], "beta": data_dict["log_std"]}


KINDS = {"squashed": Squashed, "beta": Beta}


def model_of(kind: str, specs: Any = SPECS) -> Any:
    model = KINDS[kind](ModelCfg(inputs_name=["mean", "log_std"]))
    model.bind_actions(specs)
    return model


def inputs(rows: int = 200, size: int = 3) -> Dict[str, torch.Tensor]:
    return {"mean": torch.randn(rows, size), "log_std": 0.5 * torch.randn(rows, size)}


def theirs(kind: str, parameters: Dict[str, torch.Tensor]) -> reference.Distribution:
    """The same in torch.distributions, in float64."""
    low, width = torch.tensor(LOW).double(), torch.tensor(HIGH - LOW).double()
    values = {name: value.double() for name, value in parameters.items()}
    if kind == "beta":
        base, steps = reference.Beta(values["alpha"], values["beta"]), []
    else:
        base = reference.Normal(values["mean_actions"], values["log_std"].exp())
        steps = [reference.TanhTransform(), reference.AffineTransform(0.5, 0.5)]
    return reference.Independent(
        reference.TransformedDistribution(base, steps + [reference.AffineTransform(low, width)]), 1
    )


@pytest.mark.parametrize("kind", list(KINDS))
def test_log_densities_are_torchs_own_and_those_of_acting(kind: str) -> None:
    model, data = model_of(kind), inputs()
    outputs = model.act(data)
    actions = outputs["actions"]
    assert bool(((actions >= torch.tensor(LOW)) & (actions <= torch.tensor(HIGH))).all())
    evaluated = model.evaluate(data, actions)
    assert torch.equal(evaluated["log_prob"], outputs["log_prob"])
    parameters = model.parameters_of(model.outputs(data), 200)
    # Near a bound, the place within the range has lost digits to float32 already.
    place = (actions - torch.tensor(LOW)) / torch.tensor(HIGH - LOW)
    inside = ((place > 1e-3) & (place < 1.0 - 1e-3)).all(dim=1)
    assert int(inside.sum()) > 100
    expected = theirs(kind, parameters).log_prob(actions.double())
    torch.testing.assert_close(outputs["log_prob"][inside, 0].double(), expected[inside], rtol=1e-3, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(list(KINDS)), mean=st.floats(-2.0, 2.0), spread=st.floats(-1.5, 0.2))
def test_densities_integrate_to_one_and_entropies_are_their_integrals(kind: str, mean: float, spread: float) -> None:
    model = model_of(kind, SCALAR)
    # Points that are dense at the bounds, where the densities may be steep.
    place = torch.sigmoid(torch.linspace(-13.0, 13.0, 20001, dtype=torch.float64))
    actions = (-3.0 + 4.0 * place).float().unsqueeze(1)
    data = {"mean": torch.full((len(actions), 1), mean), "log_std": torch.full((len(actions), 1), spread)}
    evaluated = model.evaluate(data, actions)
    log_density = evaluated["log_prob"][:, 0].double()
    assert float(torch.trapz(log_density.exp(), 4.0 * place)) == pytest.approx(1.0, abs=2e-3)
    entropy = -float(torch.trapz(log_density.exp() * log_density, 4.0 * place))
    assert float(evaluated["entropy"][0, 0]) == pytest.approx(entropy, abs=5e-3)


@pytest.mark.parametrize("kind", list(KINDS))
def test_divergences(kind: str) -> None:
    model = model_of(kind)
    old, new = (model.parameters_of(model.outputs(inputs()), 200) for _ in range(2))
    if kind == "beta":
        pairs = [reference.Beta(item["alpha"].double(), item["beta"].double()) for item in (old, new)]
    else:
        pairs = [reference.Normal(item["mean_actions"].double(), item["log_std"].double().exp()) for item in (old, new)]
    expected = reference.kl_divergence(*pairs).sum(dim=1)
    torch.testing.assert_close(model.kl(old, new)[:, 0].double(), expected, rtol=1e-4, atol=1e-4)
    assert float(model.kl(old, old).abs().max()) <= 1e-6


@pytest.mark.parametrize("kind", list(KINDS))
def test_moments_of_what_is_drawn(kind: str) -> None:
    model, rows = model_of(kind, SCALAR), 60000
    data = {"mean": torch.full((rows, 1), 0.7), "log_std": torch.full((rows, 1), -0.3)}
    drawn = model.act(data)["actions"].double()
    if kind == "beta":
        alpha, beta = (1.0 + math.log1p(math.exp(value)) for value in (0.7, -0.3))
        mean, deviation = alpha / (alpha + beta), math.sqrt(alpha * beta / (alpha + beta + 1.0)) / (alpha + beta)
    else:
        places = torch.sigmoid(2.0 * (0.7 + math.exp(-0.3) * torch.randn(400000, dtype=torch.float64)))
        mean, deviation = float(places.mean()), float(places.std())
    assert float(drawn.mean()) == pytest.approx(-3.0 + 4.0 * mean, abs=0.02)
    assert float(drawn.std()) == pytest.approx(4.0 * deviation, rel=0.02)


def test_likeliest_actions() -> None:
    beta = model_of("beta", SCALAR)
    parameters = {"alpha": torch.tensor([[3.0], [1.0]]), "beta": torch.tensor([[2.0], [1.0]])}
    # (3 - 1) / (3 + 2 - 2) of the way from -3 to 1; a flat density has its middle.
    assert beta.mode(parameters)[:, 0].tolist() == pytest.approx([-3.0 + 4.0 * 2.0 / 3.0, -1.0])
    squashed = model_of("squashed", SCALAR)
    mode = squashed.mode({"mean_actions": torch.tensor([[0.5]]), "log_std": torch.zeros(1, 1)})
    assert mode.item() == pytest.approx(-1.0 + 2.0 * math.tanh(0.5), rel=1e-6)


@pytest.mark.parametrize("kind", list(KINDS))
def test_actions_at_the_bounds_have_finite_densities_and_gradients(kind: str) -> None:
    model = model_of(kind)
    data = {name: value.requires_grad_() for name, value in inputs(2).items()}
    evaluated = model.evaluate(data, torch.stack([torch.tensor(LOW), torch.tensor(HIGH)]))
    (evaluated["log_prob"].sum() + evaluated["entropy"].sum()).backward()
    assert all(bool(torch.isfinite(value.grad).all()) for value in data.values())


@pytest.mark.parametrize("kind", list(KINDS))
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    model = model_of(kind).double()

    def judged(mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
        if kind == "beta":
            parameters = {"alpha": 1.0 + mean.exp(), "beta": 1.0 + log_std.exp()}
        else:
            parameters = {"mean_actions": mean, "log_std": log_std}
        return torch.cat([model.log_prob(parameters, actions), model.entropy(parameters)])

    actions = torch.tensor([[-1.0, 2.0, 5.2], [0.5, 9.0, 5.1]], dtype=torch.float64)
    data = [value.double().requires_grad_() for value in inputs(2).values()]
    assert torch.autograd.gradcheck(judged, data)


@pytest.mark.parametrize("kind", list(KINDS))
def test_bounds_are_needed(kind: str) -> None:
    with pytest.raises(ModelError, match="needs finite bounds, each low below its high, but action 'action'"):
        model_of(kind, layout_of(gymnasium.spaces.Box(-1.0, np.inf, (2,)), "action").specs)
    with pytest.raises(ModelError, match="is a policy for one Box action"):
        model_of(kind, layout_of(gymnasium.spaces.Discrete(3), "action").specs)
    env = GymnasiumWrapper("CartPole-v1")
    assert type(default_models(env.getEnvInfo(), distribution=kind)["policy"]).__name__ == "_CategoricalPolicy"
    with pytest.raises(ModelError, match="distribution is 'betta'. Did you mean 'beta'?"):
        default_models(env.getEnvInfo(), distribution="betta")


def agent_of(env: GymnasiumWrapper, kind: str) -> PPO:
    cfg = PPOCfg(device="cpu", rollouts=64, learning_epochs=8, mini_batches=8, learning_rate=1e-3, discount_factor=0.9)
    return PPO(default_models(env.getEnvInfo(), distribution=kind), cfg)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_range_is_the_wrappers(kind: str) -> None:
    agents = {}
    for bounds, reach in (("clip", 2.0), ("rescale", 1.0)):
        env = GymnasiumWrapper("Pendulum-v1", num_envs=500, action_bounds=bounds)
        agents[bounds] = agent = agent_of(env, kind)
        agent.setup(env.getEnvInfo())
        agent.set_mode(training=False, deterministic=False)
        actions = agent.act(env.reset(seed=0)[0], 0, 1)["action"]
        assert 0.8 * reach < float(actions.abs().max()) <= reach
    # An agent that goes from the one to the other follows.
    agents["rescale"].setup(GymnasiumWrapper("Pendulum-v1", num_envs=500).getEnvInfo())
    assert float(agents["rescale"].act(env.reset(seed=0)[0], 0, 1)["action"].abs().max()) > 1.2


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_range_is_in_no_checkpoint(kind: str) -> None:
    env = GymnasiumWrapper("Pendulum-v1")
    first, second = agent_of(env, kind), agent_of(env, kind)
    first.setup(env.getEnvInfo())
    first.save("agent.aqua")
    second.load("agent.aqua")
    observation = np.array([0.1, 0.2, 0.3], np.float32)
    assert np.array_equal(first.predict(observation), second.predict(observation))
    assert not any("action_range" in name for name in first.models["policy"].state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_ppo_learns_pendulum_with_it(kind: str) -> None:
    AquaML.seed_everything(0)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=32)
    agent = agent_of(env, kind)
    settings_ = TrainerConfig(timesteps=9600, seed=0, disable_progressbar=True, tensorboard=False)
    SequentialTrainer(env, agent, settings_).train()
    assert evaluate(GymnasiumWrapper("Pendulum-v1", num_envs=20), agent, 100, seed=10_000).return_mean >= -250.0
