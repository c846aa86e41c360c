"""Gaussian policies with a full covariance against torch.distributions, and their samples against moments."""

import math
from typing import Any, Dict, List, Tuple

import gymnasium
import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import ModelError
from AquaML.learning.model import ModelCfg, MultivariateGaussianModel, default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.reinforcement.on_policy.rpo import RPO, RPOCfg
from AquaML.learning.reinforcement.on_policy.trpo import TRPO, TRPOCfg
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

ROWS = 40


class Policy(MultivariateGaussianModel):
    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        return {"mean_actions": data_dict["mean"], "cholesky": data_dict["cholesky"]}


def inputs(dimensions: int, rows: int = ROWS) -> Dict[str, torch.Tensor]:
    size = dimensions * (dimensions + 1) // 2
    return {"mean": torch.randn(rows, dimensions), "cholesky": 0.5 * torch.randn(rows, size)}


def factor_of(entries: torch.Tensor, dimensions: int) -> torch.Tensor:
    """The documented form, entry by entry."""
    factor = torch.zeros(len(entries), dimensions, dimensions, dtype=torch.float64)
    place = 0
    for row in range(dimensions):
        for column in range(row + 1):
            entry = entries[:, place].double()
            factor[:, row, column] = entry.exp() if row == column else entry
            place += 1
    return factor


def reference(data: Dict[str, torch.Tensor]) -> MultivariateNormal:
    dimensions = data["mean"].shape[1]
    return MultivariateNormal(data["mean"].double(), scale_tril=factor_of(data["cholesky"], dimensions))


def parameters(model: MultivariateGaussianModel, outputs: Dict[str, Any]) -> Dict[str, torch.Tensor]:
    return {name: outputs[name] for name in ("mean_actions", "cholesky", "log_std")}


@pytest.mark.parametrize("dimensions", [1, 2, 5, 12])
def test_closed_forms_equal_torch_distributions(dimensions: int) -> None:
    model, old, new = Policy(ModelCfg()), inputs(dimensions), inputs(dimensions)
    first, second = reference(old), reference(new)
    acted = model.act(old)
    evaluated = model.evaluate(old, acted["actions"])
    other = model.evaluate(new, acted["actions"])
    for mine, theirs in (
        (acted["log_prob"], first.log_prob(acted["actions"].double())),
        (evaluated["log_prob"], first.log_prob(acted["actions"].double())),
        (other["log_prob"], second.log_prob(acted["actions"].double())),
        (evaluated["entropy"], first.entropy()),
        (model.kl(parameters(model, evaluated), parameters(model, other)), kl_divergence(first, second)),
    ):
        assert mine.shape == (ROWS, 1)
        torch.testing.assert_close(mine[:, 0].double(), theirs, rtol=2e-5, atol=2e-5)
    std = first.covariance_matrix.diagonal(dim1=-2, dim2=-1).sqrt()
    torch.testing.assert_close(evaluated["log_std"].double(), std.log(), rtol=1e-5, atol=1e-5)


def test_gradients_equal_those_of_torch_distributions() -> None:
    model, data = Policy(ModelCfg()), inputs(4)
    actions = torch.randn(ROWS, 4)
    for name in data:
        data[name].requires_grad_()
    evaluated = model.evaluate(data, actions)
    mine = torch.autograd.grad((evaluated["log_prob"] + 0.1 * evaluated["entropy"]).sum(), list(data.values()))
    judged = reference(data)
    theirs = torch.autograd.grad(
        (judged.log_prob(actions.double()) + 0.1 * judged.entropy()).sum(), list(data.values())
    )
    for one, other in zip(mine, theirs):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_moments_of_samples_are_those_of_the_factor_and_not_of_its_square() -> None:
    rows = 200_000
    entries = torch.tensor([math.log(0.5), 0.6, math.log(0.25), -0.3, 0.2, math.log(2.0)])
    data = {"mean": torch.tensor([1.0, -2.0, 0.5]).expand(rows, 3), "cholesky": entries}
    drawn = Policy(ModelCfg()).act(data)["actions"]
    factor = factor_of(entries[None], 3)[0]
    expected = (factor @ factor.T).numpy()
    assert drawn.mean(dim=0).tolist() == pytest.approx([1.0, -2.0, 0.5], abs=0.02)
    assert np.cov(drawn.T.numpy()) == pytest.approx(expected, abs=0.03)
    # Std of the first dimension is 0.5; a factor taken for a variance would give 0.71, one taken twice 0.25.
    assert float(drawn[:, 0].std()) == pytest.approx(0.5, rel=0.01)


def test_zeros_are_the_standard_normal_distribution() -> None:
    model = Policy(ModelCfg())
    evaluated = model.evaluate({"mean": torch.zeros(2, 3), "cholesky": torch.zeros(2, 6)}, torch.zeros(2, 3))
    assert evaluated["log_prob"][0, 0].item() == pytest.approx(-1.5 * math.log(2 * math.pi), rel=1e-6)
    assert evaluated["entropy"][:, 0].tolist() == pytest.approx([4.2568, 4.2568], abs=5e-5)


def test_actions_of_any_shape() -> None:
    model, flat = Policy(ModelCfg()), inputs(6)
    data = dict(flat, mean=flat["mean"].reshape(ROWS, 2, 3))
    outputs = model.act(data)
    assert outputs["actions"].shape == outputs["log_std"].shape == (ROWS, 2, 3)
    expected = reference(flat).log_prob(outputs["actions"].reshape(ROWS, 6).double())
    torch.testing.assert_close(outputs["log_prob"][:, 0].double(), expected, rtol=2e-5, atol=2e-5)


def test_divergence_of_nearly_equal_policies_keeps_its_digits() -> None:
    model, old = Policy(ModelCfg()), inputs(3)
    same = parameters(model, model.act(old))
    assert float(model.kl(same, same).abs().max()) <= 1e-12
    new = {"mean": old["mean"] + 1e-4, "cholesky": old["cholesky"] + 1e-4}
    mine = model.kl(same, parameters(model, model.act(new)))
    exact = kl_divergence(reference(old), reference(new))
    torch.testing.assert_close(mine[:, 0].double(), exact, rtol=2e-2, atol=1e-11)


def test_no_std_falls_under_the_floor() -> None:
    model = Policy(ModelCfg(), min_log_std=math.log(0.1), max_log_std=math.log(0.5))
    data = {"mean": torch.zeros(1000, 3), "cholesky": 20.0 * torch.randn(1000, 6)}
    outputs = model.act(data)
    assert float(outputs["log_std"].exp().min()) >= 0.1 * (1 - 1e-6)
    diagonal = outputs["cholesky"][:, [0, 2, 5]]
    assert float(diagonal.min()) == pytest.approx(math.log(0.1)) and float(diagonal.max()) == pytest.approx(
        math.log(0.5)
    )
    # Entries beside the diagonal have no bounds.
    assert torch.equal(outputs["cholesky"][:, [1, 3, 4]], data["cholesky"][:, [1, 3, 4]])


@pytest.mark.parametrize("entries", [None, torch.zeros(2, 3), torch.zeros(5, 2, 3), 3.0])
def test_wrong_entries(entries: Any) -> None:
    class Wrong(MultivariateGaussianModel):
        def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, Any]:
            return {"mean_actions": data_dict["mean"], **({} if entries is None else {"cholesky": entries})}

    with pytest.raises(
        ModelError, match=r"'cholesky' of shape \(B, 6\) for 3 action dimensions, or .* cholesky_parameter"
    ):
        Wrong(ModelCfg()).act({"mean": torch.zeros(2, 3)})


class Correlated(gymnasium.Env):
    """Draws x and rewards two actions whose sum is x, whatever their difference; ten steps an episode."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-3.0, 3.0, (2,), np.float32)

    def reset(self, *, seed: Any = None, options: Any = None) -> Tuple[np.ndarray, Dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self.draw(), {}

    def draw(self) -> np.ndarray:
        self.x = self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32)
        return self.x

    def step(self, action: Any) -> Tuple[np.ndarray, float, bool, bool, Dict[str, Any]]:
        reward = -float((action.sum() - self.x[0]) ** 2)
        self.time += 1
        return self.draw(), reward, False, self.time == 10, {}


def trained(agent_class: Any, cfg: Any, timesteps: int, **options: Any) -> Any:
    AquaML.seed_everything(0)
    env = GymnasiumWrapper(Correlated, num_envs=32)
    models = default_models(env.getEnvInfo(), hidden_sizes=(32,), distribution="multivariate", **options)
    agent = agent_class(models, cfg)
    settings = TrainerConfig(timesteps=timesteps, seed=0, disable_progressbar=True, tensorboard=False)
    SequentialTrainer(env, agent, settings).train()
    return agent


@pytest.mark.parametrize("state_dependent", [False, True])
def test_ppo_learns_that_errors_of_two_actions_cancel(state_dependent: bool) -> None:
    cfg = PPOCfg(
        device="cpu",
        rollouts=16,
        learning_epochs=6,
        mini_batches=4,
        learning_rate=5e-3,
        discount_factor=0.0,
        entropy_loss_scale=0.05,
    )
    agent = trained(PPO, cfg, 1600, state_dependent_std=state_dependent)
    env = GymnasiumWrapper(Correlated, num_envs=50)
    assert evaluate(env, agent, episodes=100, seed=77).return_mean > -0.05
    outputs = agent.policy.act({"state": torch.zeros(1, 1)})
    factor = factor_of(outputs["cholesky"].detach(), 2)[0]
    covariance = factor @ factor.T
    correlation = float(covariance[0, 1] / (covariance[0, 0] * covariance[1, 1]).sqrt())
    assert correlation < -0.8


@pytest.mark.parametrize("agent_class, cfg", [(RPO, RPOCfg), (TRPO, TRPOCfg)])
def test_other_agents_take_it(agent_class: Any, cfg: Any) -> None:
    agent = trained(agent_class, cfg(device="cpu", rollouts=16), 64)
    env = GymnasiumWrapper(Correlated, num_envs=10)
    assert math.isfinite(evaluate(env, agent, episodes=10, seed=77).return_mean)


def test_parameters_of_the_first_minibatch_are_those_that_acted() -> None:
    kls: List[float] = []

    class Watched(PPO):
        def policy_loss(self, minibatch: Any, evaluated: Any) -> torch.Tensor:
            if not kls:
                new = {name: evaluated[name] for name in minibatch.parameters}
                kls.append(self.policy.kl(minibatch.parameters, new).mean().item())
                kls.append((evaluated["log_prob"] - minibatch.log_prob).abs().max().item())
            return super().policy_loss(minibatch, evaluated)

    trained(Watched, PPOCfg(device="cpu", rollouts=16), 16, state_dependent_std=True)
    assert kls[0] <= 1e-6 and kls[1] <= 1e-4
