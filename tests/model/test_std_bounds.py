"""Floor and cap of the standard deviation: the numbers, and the gradients at the bounds."""

import math
from typing import Any, Dict

import gymnasium
import numpy as np
import pytest
import torch

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.spaces import layout_of
from AquaML.errors import ModelError
from AquaML.learning.model import default_models
from AquaML.learning.model.gaussian import bounded, softly_bounded
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

FLOOR, CAP = math.log(0.2), math.log(0.6)
BOX = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
DISTRIBUTIONS = ["gaussian", "multivariate", "squashed"]


def models_for(**options: Any) -> Dict[str, Any]:
    info = {"observation_cfg": layout_of(BOX, "state").specs, "action_cfg": layout_of(BOX, "action").specs}
    options.setdefault("initial_log_std", math.log(0.4))
    return default_models(info, hidden_sizes=(8,), **options)


def moved(gradient: float, start: float, steps: int) -> float:
    """Where descent on a constant gradient leads a bounded number."""
    values = torch.tensor([start], requires_grad=True)
    optimizer = torch.optim.SGD([values], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (gradient * bounded(values, -1.0, 0.5)).sum().backward()
        optimizer.step()
    return float(values.detach())


def test_gradients_pass_unless_they_lead_out() -> None:
    values = torch.tensor([-2.0, -2.0, -1.0, -1.0, 0.0, 0.0, 0.5, 0.5, 0.9, 0.9], requires_grad=True)
    up_and_down = torch.tensor([1.0, -1.0]).repeat(5)
    limited = bounded(values, -1.0, 0.5)
    assert limited.tolist() == [-1.0, -1.0, -1.0, -1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5]
    limited.backward(up_and_down)
    # Descent moves against the gradient: a positive one leads down, which is out at the lower bound.
    assert values.grad.tolist() == [0.0, -1.0, 0.0, -1.0, 1.0, -1.0, 1.0, 0.0, 1.0, 0.0]


def test_a_parameter_stops_near_its_bound_and_comes_back() -> None:
    assert -1.1 <= moved(1.0, 0.0, 100) <= -1.0
    assert 0.5 <= moved(-1.0, 0.0, 100) <= 0.6
    # torch.clamp alone would leave it there for ever.
    assert moved(-1.0, -3.0, 10) == pytest.approx(-2.0)


def test_soft_bounds() -> None:
    raw = torch.linspace(-200.0, 200.0, 4001, requires_grad=True)
    soft = softly_bounded(raw, FLOOR, CAP, math.log(0.4))
    assert soft.min().item() >= FLOOR - 1e-6 and soft.max().item() <= CAP + 1e-6
    assert bool((soft.diff() >= 0.0).all())
    soft.sum().backward()
    middle = len(raw) // 2
    assert soft[middle].item() == pytest.approx(math.log(0.4), rel=1e-5)
    assert float(raw.grad[middle]) == pytest.approx(1.0, rel=1e-5)
    near = raw.detach().abs() < 2.0
    assert float(raw.grad[near].min()) > 0.0


@pytest.mark.parametrize("state_dependent", [False, True])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_std_never_leaves_its_bounds(distribution: str, state_dependent: bool) -> None:
    options = {"distribution": distribution, "state_dependent_std": state_dependent}
    policy = models_for(min_log_std=FLOOR, max_log_std=CAP, **options)["policy"]
    states = {"state": torch.randn(500, 3)}
    start = policy.act(states)["log_std"].exp()
    assert start.mean().item() == pytest.approx(0.4, rel=0.02)
    for scale in (1e3, -1e3):
        with torch.no_grad():
            for name, parameter in policy.named_parameters():
                if "log_std" in name or "cholesky" in name or "spread" in name:
                    parameter.copy_(scale * torch.randn_like(parameter))
        std = policy.act(states)["log_std"].exp()
        assert float(std.min()) >= 0.2 * (1 - 1e-6)
        if distribution != "multivariate":
            assert float(std.max()) <= 0.6 * (1 + 1e-6)
        else:
            assert float(policy.act(states)["cholesky"][:, [0, 2, 5]].max()) <= CAP + 1e-6
        assert state_dependent == (float(std.std(dim=0).max()) > 1e-3)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_state_dependent_std_has_a_gradient(distribution: str) -> None:
    models = models_for(distribution=distribution, state_dependent_std=True, shared=True)
    batch = {"state": torch.randn(6, 3)}
    actions = models["policy"].act(batch)["actions"].detach()
    evaluated = models["policy"].evaluate(batch, actions)
    assert evaluated["values"].shape == (6, 1) and "spread" not in evaluated
    evaluated["entropy"].sum().backward()
    assert float(models["policy"].heads.spread.weight.grad.abs().max()) > 0.0


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_defaults_are_those_of_the_distribution(distribution: str) -> None:
    policy = models_for(distribution=distribution)["policy"]
    assert (policy.min_log_std, policy.max_log_std) == ((-5.0 if distribution == "squashed" else -20.0), 2.0)
    only_floor = models_for(distribution=distribution, min_log_std=-1.0)["policy"]
    assert (only_floor.min_log_std, only_floor.max_log_std) == (-1.0, 2.0)


def test_training_that_wants_no_noise_stops_at_the_floor_and_comes_back() -> None:
    class Still(gymnasium.Env):
        """Every action but 0 is punished."""

        observation_space, action_space = BOX, BOX

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.time = 0
            return np.zeros(3, np.float32), {}

        def step(self, action: Any) -> Any:
            self.time += 1
            return np.zeros(3, np.float32), -float((action**2).sum()), False, self.time == 8, {}

    AquaML.seed_everything(0)
    env = GymnasiumWrapper(Still, num_envs=16)
    models = default_models(
        env.getEnvInfo(), hidden_sizes=(8,), initial_log_std=math.log(0.3), min_log_std=FLOOR, max_log_std=CAP
    )
    entropy = 0.0

    class Watched(PPO):
        def policy_loss(self, minibatch: Any, evaluated: Any) -> torch.Tensor:
            stds.append(evaluated["log_std"].exp().detach())
            return super().policy_loss(minibatch, evaluated) - entropy * evaluated["entropy"].mean()

    stds: list = []
    agent = Watched(models, PPOCfg(device="cpu", rollouts=8, learning_rate=1e-2, discount_factor=0.0))
    settings = {"seed": 0, "disable_progressbar": True, "tensorboard": False}
    SequentialTrainer(env, agent, TrainerConfig(timesteps=320, **settings)).train()
    assert torch.cat(stds).min().item() == pytest.approx(0.2, rel=1e-6)
    assert stds[-1].mean().item() == pytest.approx(0.2, rel=0.05)
    entropy = 1.0
    SequentialTrainer(env, agent, TrainerConfig(timesteps=320, **settings)).train()
    assert stds[-1].mean().item() > 0.5
    assert torch.cat(stds).max().item() <= 0.6 * (1 + 1e-6)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"min_log_std": 0.0}, r"initial_log_std is -0.9\d*; expected a number between min_log_std = 0.0 and"),
        ({"max_log_std": -2.0}, "initial_log_std is .* and max_log_std = -2.0"),
        ({"min_log_std": 1.0, "max_log_std": 0.0}, "min_log_std is 1.0 and max_log_std is 0.0; expected the first"),
        ({"initial_log_std": 2.0, "state_dependent_std": True}, "max_log_std = 2.0, and neither of them"),
        ({"distribution": "beta", "min_log_std": -1.0}, "distribution='beta' has no standard deviation"),
        ({"distribution": "beta", "state_dependent_std": True}, "distribution='beta' has no standard deviation"),
    ],
)
def test_wrong_bounds(options: Dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        models_for(**options)
