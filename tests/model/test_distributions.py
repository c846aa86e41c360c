"""Closed forms against torch.distributions, and sampling against frequencies."""

import math
from typing import Any, Dict, List, Tuple

import pytest
import torch
from torch import distributions as reference

from AquaML.learning.model import CategoricalModel, CompositeModel, GaussianModel, ModelCfg, MultiCategoricalModel
from AquaML.learning.model.stochastic import StochasticModel

TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}
SIZES = [3, 2, 4]


class Gaussian(GaussianModel):
    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        return {"mean_actions": data_dict["mean"], "log_std": data_dict["log_std"]}


class Categorical(CategoricalModel):
    def compute(self, data_dict: Dict[str, torch.Tensor]) -> torch.Tensor:
        return data_dict["logits"]


class MultiCategorical(MultiCategoricalModel):
    def compute(self, data_dict: Dict[str, torch.Tensor]) -> torch.Tensor:
        return data_dict["groups"]


def inputs(rows: int = 50) -> Dict[str, torch.Tensor]:
    return {
        "mean": torch.randn(rows, 3),
        "log_std": 0.5 * torch.randn(rows, 3),
        "logits": torch.randn(rows, 5),
        "groups": torch.randn(rows, 9),
    }


def groups(logits: torch.Tensor) -> List[reference.Categorical]:
    return [reference.Categorical(logits=part) for part in torch.split(logits, SIZES, dim=1)]


def gaussian(data: Dict[str, torch.Tensor]) -> reference.Distribution:
    return reference.Independent(reference.Normal(data["mean"], data["log_std"].exp()), 1)


def make(kind: str) -> StochasticModel:
    if kind == "gaussian":
        return Gaussian(ModelCfg(inputs_name=["mean", "log_std"]))
    if kind == "categorical":
        return Categorical(ModelCfg(inputs_name=["logits"]))
    if kind == "multi":
        return MultiCategorical(ModelCfg(inputs_name=["groups"]), SIZES)
    return CompositeModel({"arm/move": make("gaussian"), "grip": make("categorical"), "keys": make("multi")})


def judged(kind: str, old: Dict[str, torch.Tensor], new: Dict[str, torch.Tensor], actions: Any) -> Tuple[Any, Any, Any]:
    """Log-probability, entropy and divergence according to torch.distributions."""
    if kind == "gaussian":
        first, second = gaussian(old), gaussian(new)
        return first.log_prob(actions), first.entropy(), reference.kl_divergence(first, second)
    if kind == "categorical":
        first, second = reference.Categorical(logits=old["logits"]), reference.Categorical(logits=new["logits"])
        return first.log_prob(actions[:, 0]), first.entropy(), reference.kl_divergence(first, second)
    if kind == "multi":
        pairs = list(zip(groups(old["groups"]), groups(new["groups"])))
        return (
            sum(first.log_prob(actions[:, i]) for i, (first, _) in enumerate(pairs)),
            sum(first.entropy() for first, _ in pairs),
            sum(reference.kl_divergence(first, second) for first, second in pairs),
        )
    parts = {"gaussian": "arm/move", "categorical": "grip", "multi": "keys"}
    found = [judged(name, old, new, actions[action]) for name, action in parts.items()]
    return tuple(sum(column) for column in zip(*found))


@pytest.mark.parametrize("kind", ["gaussian", "categorical", "multi", "composite"])
def test_closed_forms_equal_torch_distributions(kind: str) -> None:
    model, old, new = make(kind), inputs(), inputs()
    acted = model.act(old)
    evaluated = model.evaluate(old, acted["actions"])
    other = model.evaluate(new, acted["actions"])
    names = [name for name in evaluated if name not in ("log_prob", "entropy")]
    log_prob, entropy, kl = judged(kind, old, new, acted["actions"])
    for mine, theirs in (
        (acted["log_prob"], log_prob),
        (evaluated["log_prob"], log_prob),
        (evaluated["entropy"], entropy),
        (model.kl({n: evaluated[n] for n in names}, {n: other[n] for n in names}), kl),
    ):
        assert mine.shape == (50, 1)
        torch.testing.assert_close(mine[:, 0].double(), theirs.double(), rtol=2e-6, atol=2e-6)
    same = {n: evaluated[n] for n in names}
    assert float(model.kl(same, same).abs().max()) == 0.0


def test_entropy_of_a_unit_gaussian() -> None:
    model = Gaussian(ModelCfg())
    evaluated = model.evaluate({"mean": torch.zeros(2, 3), "log_std": torch.zeros(2, 3)}, torch.zeros(2, 3))
    assert evaluated["entropy"][:, 0].tolist() == pytest.approx([4.2568, 4.2568], abs=5e-5)
    assert evaluated["log_prob"][0, 0].item() == pytest.approx(-1.5 * math.log(2 * math.pi), rel=1e-6)


def test_log_std_is_bounded() -> None:
    model = Gaussian(ModelCfg(), min_log_std=-1.0, max_log_std=0.5)
    outputs = model.act({"mean": torch.zeros(1, 3), "log_std": torch.tensor([[-9.0, 0.25, 9.0]])})
    assert outputs["log_std"].tolist() == [[-1.0, 0.25, 0.5]]


def test_actions_of_any_shape_are_summed_over() -> None:
    model = Gaussian(ModelCfg())
    data = {"mean": torch.randn(4, 2, 3), "log_std": torch.zeros(2, 3)}
    outputs = model.act(data)
    assert outputs["actions"].shape == (4, 2, 3)
    expected = reference.Normal(data["mean"], 1.0).log_prob(outputs["actions"]).sum(dim=(1, 2))
    torch.testing.assert_close(outputs["log_prob"][:, 0], expected, **TOLERANCE)


def test_a_category_of_probability_zero() -> None:
    model = Categorical(ModelCfg())
    logits = torch.tensor([[0.0, float("-inf"), 1.0]]).expand(20000, 3).clone().requires_grad_()
    outputs = model.act({"logits": logits})
    assert not bool((outputs["actions"] == 1).any())
    evaluated = model.evaluate({"logits": logits}, outputs["actions"])
    p = 1.0 / (1.0 + math.e)
    expected = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    assert evaluated["entropy"][0, 0].item() == pytest.approx(expected, rel=1e-5)
    assert model.kl({"logits": outputs["logits"]}, {"logits": outputs["logits"]}).abs().max().item() == 0.0
    (evaluated["entropy"].mean() + evaluated["log_prob"].mean()).backward()
    assert bool(torch.isfinite(logits.grad).all())


def test_divergence_with_a_category_of_probability_zero_equals_the_one_without_it() -> None:
    model = Categorical(ModelCfg())
    old = torch.log_softmax(torch.tensor([[0.3, float("-inf"), 1.0]]), dim=1)
    new = torch.log_softmax(torch.tensor([[1.0, 0.0, 1.0]]), dim=1)
    expected = sum(math.exp(o) * (o - n) for o, n in zip(old[0].tolist(), new[0].tolist()) if math.isfinite(o))
    assert model.kl({"logits": old}, {"logits": new}).item() == pytest.approx(expected, rel=1e-6)


def test_sampling_frequencies_of_categories() -> None:
    rows = 60000
    logits = torch.tensor([0.0, 1.0, -1.0, 0.5, -2.0])
    drawn = Categorical(ModelCfg()).act({"logits": logits.expand(rows, 5)})["actions"]
    assert drawn.dtype == torch.int64
    assert drawn.shape == (rows, 1)
    expected = rows * torch.softmax(logits, dim=0)
    observed = torch.bincount(drawn[:, 0], minlength=5).float()
    # 99.9 % of the chi-square distribution with 4 degrees of freedom lies below 18.5.
    assert float(((observed - expected) ** 2 / expected).sum()) < 18.5


def test_sampling_moments_of_a_gaussian() -> None:
    rows = 60000
    data = {"mean": torch.tensor([1.0, -2.0]).expand(rows, 2), "log_std": torch.tensor([0.0, math.log(0.25)])}
    drawn = Gaussian(ModelCfg()).act(data)["actions"]
    assert drawn.mean(dim=0).tolist() == pytest.approx([1.0, -2.0], abs=0.02)
    assert drawn.std(dim=0).tolist() == pytest.approx([1.0, 0.25], rel=0.02)
    assert float(torch.corrcoef(drawn.T)[0, 1]) == pytest.approx(0.0, abs=0.02)


def test_groups_are_drawn_independently_by_their_own_probabilities() -> None:
    rows = 60000
    logits = torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 3.0])
    drawn = MultiCategorical(ModelCfg(), SIZES).act({"groups": logits.expand(rows, 9)})["actions"]
    assert drawn.shape == (rows, 3)
    for index, part in enumerate(torch.split(logits, SIZES)):
        expected = rows * torch.softmax(part, dim=0)
        observed = torch.bincount(drawn[:, index], minlength=len(part)).float()
        assert float(((observed - expected) ** 2 / expected).sum()) < 16.3
    assert float(torch.corrcoef(drawn.T.double()).triu(1).abs().max()) < 0.02


def test_modes() -> None:
    data = inputs()
    actions = make("composite").act_deterministic(data)["actions"]
    assert torch.equal(actions["arm/move"], data["mean"])
    assert torch.equal(actions["grip"][:, 0], data["logits"].argmax(dim=1))
    expected = torch.stack([part.argmax(dim=1) for part in torch.split(data["groups"], SIZES, dim=1)], dim=1)
    assert torch.equal(actions["keys"], expected)


def test_evaluating_draws_nothing_and_remembers_nothing() -> None:
    model, data, other = make("composite"), inputs(), inputs()
    actions = model.act(data)["actions"]
    before = torch.get_rng_state()
    first = model.evaluate(data, actions)
    model.act_deterministic(other)
    model.evaluate(other, actions)
    second = model.evaluate(data, actions)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
