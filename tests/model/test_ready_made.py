"""default_models for every kind of space."""

import math
from typing import Any, Dict

import gymnasium
import numpy as np
import pytest
import torch

from AquaML.environment.spaces import layout_of
from AquaML.errors import ModelError
from AquaML.learning.model import (
    CategoricalModel,
    CompositeModel,
    GaussianModel,
    MLPEncoder,
    MultiCategoricalModel,
    default_models,
)

spaces = gymnasium.spaces
BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)

OBSERVATIONS: Dict[str, Any] = {
    "box": BOX,
    "image": spaces.Box(0, 255, (4, 4, 3), np.uint8),
    "discrete": spaces.Discrete(5, start=1),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(4),
    "tuple": spaces.Tuple((BOX, spaces.Discrete(2))),
    "dict": spaces.Dict({"arm": spaces.Dict({"q": BOX, "mode": spaces.Discrete(3)}), "privileged": BOX}),
}
FEATURES = {"box": 3, "image": 128, "discrete": 5, "multi_discrete": 5, "multi_binary": 4, "tuple": 5, "dict": 6}
"""Inputs of the policy: images encoded, categories one-hot, everything else flat, "privileged" left to the critic."""

ACTIONS: Dict[str, Any] = {
    "box": (spaces.Box(-1.0, 1.0, (2,), np.float32), GaussianModel),
    "matrix": (spaces.Box(-1.0, 1.0, (2, 3), np.float32), GaussianModel),
    "discrete": (spaces.Discrete(4, start=-1), CategoricalModel),
    "multi_discrete": (spaces.MultiDiscrete([3, 2]), MultiCategoricalModel),
    "multi_binary": (spaces.MultiBinary(3), MultiCategoricalModel),
    "dict": (spaces.Dict({"move": BOX, "arm": spaces.Dict({"grip": spaces.Discrete(2)})}), CompositeModel),
    "tuple": (spaces.Tuple((BOX, spaces.MultiBinary(2))), CompositeModel),
    "dict_of_one": (spaces.Dict({"move": BOX}), GaussianModel),
}


def info(observations: Any, actions: Any) -> Dict[str, Any]:
    return {
        "observation_cfg": layout_of(observations, "state").specs,
        "action_cfg": layout_of(actions, "action").specs,
    }


def rows(specs: Dict[str, Any], number: int = 5) -> Dict[str, torch.Tensor]:
    batch = {}
    for name, spec in specs.items():
        drawn = torch.rand((number,) + spec.shape)
        if spec.sizes:
            drawn = (drawn * torch.tensor(spec.sizes).reshape(spec.shape)).floor()
        elif spec.dtype == "uint8":
            drawn = drawn * 255
        batch[name] = drawn.to(getattr(torch, spec.dtype))
    return batch


@pytest.mark.parametrize("action", sorted(ACTIONS))
@pytest.mark.parametrize("observation", sorted(OBSERVATIONS))
def test_every_combination(observation: str, action: str) -> None:
    space, kind = ACTIONS[action]
    described = info(OBSERVATIONS[observation], space)
    models = default_models(described, hidden_sizes=(8,))
    assert isinstance(models["policy"], kind)
    batch = rows(described["observation_cfg"])
    outputs = models["policy"].act(batch)
    actions = outputs["actions"] if isinstance(outputs["actions"], dict) else {"": outputs["actions"]}
    for value, spec in zip(actions.values(), described["action_cfg"].values()):
        assert value.shape == (5,) + spec.shape
        assert value.dtype == getattr(torch, spec.dtype)
        if spec.sizes:
            assert bool((value >= 0).all())
            assert bool((value < torch.tensor(spec.sizes).reshape(spec.shape)).all())
    evaluated = models["policy"].evaluate(batch, outputs["actions"])
    torch.testing.assert_close(evaluated["log_prob"], outputs["log_prob"], rtol=1e-5, atol=1e-5)
    assert models["value"].act(batch)["values"].shape == (5, 1)


@pytest.mark.parametrize("observation", sorted(OBSERVATIONS))
def test_number_of_features(observation: str) -> None:
    models = default_models(info(OBSERVATIONS[observation], BOX), hidden_sizes=(8,))
    assert models["policy"].heads.trunk[0].in_features == FEATURES[observation]


def test_what_needs_no_encoder_is_joined_before_the_network() -> None:
    for observation in OBSERVATIONS:
        models = default_models(info(OBSERVATIONS[observation], BOX), hidden_sizes=(8,))
        assert all(model.model_cfg.concat_dict == (observation != "image") for model in models.values())


@pytest.mark.parametrize("shared", [False, True])
def test_encoders_by_key(shared: bool) -> None:
    observations = spaces.Dict({"camera": OBSERVATIONS["image"], "state": BOX, "mode": spaces.Discrete(4)})
    described = info(observations, BOX)
    choice = {"camera": torch.nn.Sequential(Scaled(), torch.nn.Linear(48, 5)), "state": MLPEncoder}
    models = default_models(described, hidden_sizes=(8,), shared=shared, encoders=choice)
    policy, value = models["policy"].heads, (models["value"].heads if shared else models["value"])
    for owner in (policy, value):
        assert owner.trunk[0].in_features == 5 + 64 + 4
        assert torch.equal(owner.extractor.encoders[0][1].weight, choice["camera"][1].weight)
    weights = [owner.extractor.encoders[0][1].weight for owner in (policy, value)]
    assert (weights[0] is weights[1]) == shared
    # The gradient reaches every encoder.
    batch = rows(described["observation_cfg"])
    outputs = models["policy"].evaluate(batch, models["policy"].act(batch)["actions"].detach())
    (outputs["log_prob"].sum() + models["value"].act(batch)["values"].sum()).backward()
    assert all(float(weight.grad.abs().max()) > 0.0 for weight in weights)


class Scaled(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).float() / 255.0


def test_privileged_observations_reach_the_critic_alone() -> None:
    described = info(OBSERVATIONS["dict"], BOX)
    models = default_models(described, hidden_sizes=(8,))
    batch = rows(described["observation_cfg"])
    moved = dict(batch, privileged=batch["privileged"] + 1.0)
    assert torch.equal(
        models["policy"].act_deterministic(batch)["actions"], models["policy"].act_deterministic(moved)["actions"]
    )
    assert not torch.equal(models["value"].act(batch)["values"], models["value"].act(moved)["values"])
    # The policy does not even need it to be there.
    del moved["privileged"]
    models["policy"].act(moved)


@pytest.mark.parametrize("action", ["box", "discrete", "multi_discrete"])
def test_shared_trunk_is_one_network(action: str) -> None:
    described = info(BOX, ACTIONS[action][0])
    models = default_models(described, hidden_sizes=(8,), shared=True)
    assert models["policy"] is models["value"]
    batch = rows(described["observation_cfg"])
    outputs = models["policy"].act(batch)
    assert outputs["values"].shape == (5, 1)
    assert torch.equal(outputs["values"], models["policy"].evaluate(batch, outputs["actions"])["values"])


def test_initialisation() -> None:
    models = default_models(info(BOX, BOX), hidden_sizes=(64, 64), initial_log_std=-0.5)
    trunk = models["policy"].heads.trunk
    product = trunk[2].weight @ trunk[2].weight.T
    torch.testing.assert_close(product, 2.0 * torch.eye(64), rtol=1e-4, atol=1e-4)
    assert float(models["policy"].heads.output.weight.detach().norm(dim=1).max()) == pytest.approx(0.01, rel=1e-4)
    assert float(models["value"].output.weight.detach().norm()) == pytest.approx(1.0, rel=1e-4)
    assert models["policy"].log_std_parameter.tolist() == [-0.5] * 3
    assert all(
        float(p.detach().abs().max()) == 0.0 for n, p in models["policy"].named_parameters() if n.endswith("bias")
    )


def test_bytes_are_scaled_and_categories_one_hot() -> None:
    observations = spaces.Dict({"pixels": spaces.Box(0, 255, (2,), np.uint8), "mode": spaces.Discrete(3)})
    model = default_models(info(observations, BOX), hidden_sizes=())["value"]
    batch = {"mode": torch.tensor([[2]]), "pixels": torch.tensor([[255, 51]], dtype=torch.uint8)}
    names = model.model_cfg.inputs_name
    expected = {"mode": [0.0, 0.0, 1.0], "pixels": [1.0, 0.2]}
    assert model.select_inputs(batch)[0].tolist() == pytest.approx([x for name in names for x in expected[name]])


@pytest.mark.parametrize(
    "options, words",
    [
        ({"activation": "rellu"}, "activation is 'rellu'. Did you mean 'relu'"),
        ({"policy_inputs": ["arm/qq"]}, "'arm/qq'.*Did you mean 'arm/q'"),
        ({"encoders": {"arm/qq": MLPEncoder}}, "encoders names 'arm/qq'.*Did you mean 'arm/q'"),
        ({"shared": True, "value_inputs": ["privileged"]}, "one trunk"),
    ],
)
def test_wrong_arguments(options: Dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        default_models(info(OBSERVATIONS["dict"], BOX), **options)


def test_shared_is_for_one_action() -> None:
    with pytest.raises(ModelError, match="shared=True.* is for one action; there are"):
        default_models(info(BOX, ACTIONS["dict"][0]), shared=True)


def test_learned_std_starts_where_asked() -> None:
    models = default_models(info(BOX, BOX), initial_log_std=math.log(0.3))
    assert models["policy"].act(rows(info(BOX, BOX)["observation_cfg"]))["log_std"].exp().mean().item() == (
        pytest.approx(0.3)
    )
