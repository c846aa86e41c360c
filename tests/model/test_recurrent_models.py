"""Recurrent layers and models: sequences inside, rows outside, and the state that goes in and comes out."""

import math
from typing import Any, Dict, Tuple

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from AquaML.environment.spaces import layout_of
from AquaML.errors import ModelError
from AquaML.learning.model import (
    CategoricalModel,
    CompositeModel,
    GaussianModel,
    Model,
    ModelCfg,
    RecurrentEncoder,
    default_models,
)

CELLS = ["gru", "lstm"]


def sequences(rows: int = 3, length: int = 7, features: int = 2) -> Tuple[torch.Tensor, torch.Tensor]:
    """Features, and resets at the first step, inside, and at the last step of some sequence."""
    resets = torch.zeros(rows, length, 1, dtype=torch.bool)
    resets[0, 0] = resets[1, 3] = resets[2, 4] = resets[1, length - 1] = True
    return torch.randn(rows, length, features), resets


def states_of(encoder: RecurrentEncoder, rows: int) -> Dict[str, torch.Tensor]:
    return {name: torch.randn((rows,) + shape) for name, shape in encoder.recurrent_state.items()}


# ------------------------------------------------------------------ the layer


def test_a_gru_by_hand() -> None:
    encoder = RecurrentEncoder(1, 1)
    with torch.no_grad():
        # torch's order: reset gate, update gate, new value.
        encoder.net.weight_ih_l0.copy_(torch.tensor([[0.5], [-0.3], [0.8]]))
        encoder.net.weight_hh_l0.copy_(torch.tensor([[0.2], [0.4], [-0.6]]))

    def sigmoid(x: float) -> float:
        return 1.0 / (1.0 + math.exp(-x))

    def step(x: float, h: float) -> float:
        reset, update = sigmoid(0.5 * x + 0.2 * h), sigmoid(-0.3 * x + 0.4 * h)
        return (1.0 - update) * math.tanh(0.8 * x + reset * -0.6 * h) + update * h

    inputs, begins = [1.0, -2.0, 0.5, 3.0], [False, False, True, False]
    state, expected = 0.7, []
    for x, begin in zip(inputs, begins):
        state = step(x, 0.0 if begin else state)
        expected.append(state)
    features, after = encoder(
        torch.tensor(inputs).reshape(1, 4, 1),
        {"hidden": torch.tensor([[[0.7]]])},
        torch.tensor(begins).reshape(1, 4, 1),
    )
    torch.testing.assert_close(features.flatten(), torch.tensor(expected), rtol=0.0, atol=1e-6)
    torch.testing.assert_close(after["hidden"].flatten(), torch.tensor([state]), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_a_block_equals_its_steps(cell: str, layers: int) -> None:
    encoder = RecurrentEncoder(2, 5, cell, layers)
    features, resets = sequences()
    states = states_of(encoder, 3)
    whole, after = encoder(features, states, resets)
    pieces, present = [], states
    for step in range(7):
        piece, present = encoder(features[:, step : step + 1], present, resets[:, step : step + 1])
        pieces.append(piece)
    torch.testing.assert_close(whole, torch.cat(pieces, dim=1), rtol=0.0, atol=1e-6)
    for name, state in after.items():
        assert tuple(state.shape) == (3, layers, 5)
        torch.testing.assert_close(state, present[name], rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_what_was_before_a_reset_has_no_say(cell: str) -> None:
    encoder = RecurrentEncoder(2, 5, cell)
    features, resets = sequences()
    first, _ = encoder(features, states_of(encoder, 3), resets)
    spoiled = features.clone()
    spoiled[1, :3] = math.nan
    spoiled[2, :4] = math.inf
    states = {name: torch.full_like(state, math.nan) for name, state in states_of(encoder, 3).items()}
    second, after = encoder(spoiled, states, resets)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1, 3:], second[1, 3:])
    assert torch.equal(first[2, 4:], second[2, 4:])
    assert all(bool(torch.isfinite(state).all()) for state in after.values())


def test_layer_by_layer_where_branches_would_wait_for_the_device(monkeypatch: Any) -> None:
    # On an accelerator every step is one call of static shape; the numbers are the same.
    encoder = RecurrentEncoder(2, 5, "lstm")
    features, resets = sequences()
    states = states_of(encoder, 3)
    here, _ = encoder(features, states, resets)
    monkeypatch.setattr("AquaML.learning.model.recurrent._starts", lambda resets: list(range(resets.shape[1])))
    there, _ = encoder(features, states, resets)
    torch.testing.assert_close(here, there, rtol=0.0, atol=1e-6)


def test_it_computes_in_float32_under_mixed_precision() -> None:
    encoder = RecurrentEncoder(2, 5)
    features, resets = sequences()
    states = states_of(encoder, 3)
    exact, _ = encoder(features, states, resets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, after = encoder(features, states, resets)
    assert mixed.dtype == torch.float32 and torch.equal(mixed, exact) and after["hidden"].dtype == torch.float32


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((2, 5, "gruu"), r"cell is 'gruu'. Did you mean 'gru'\?"),
        ((2, 0), "size is 0; expected at least 1"),
        ((0, 5), "inputs is 0; expected at least 1"),
        ((2, 5, "gru", 0), "layers is 0; expected at least 1"),
    ],
)
def test_mistakes_in_making_a_layer(arguments: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        RecurrentEncoder(*arguments)


# ------------------------------------------------------------------ models


class Total(Model):
    """The sum of what was seen in the episode, times a weight."""

    recurrent_state = {"total": (1,)}

    def __init__(self, concat: bool = True, names: Any = ("state",)) -> None:
        super().__init__(ModelCfg(inputs_name=None if names is None else list(names), concat_dict=concat))
        self.weight = nn.Parameter(torch.full((1,), 2.0))

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Any:
        self.seen = {name: tuple(value.shape) for name, value in data_dict.items()}
        total, sums = data_dict["total"], []
        values = data_dict["features"] if "features" in data_dict else data_dict["state"]
        for step in range(values.shape[1]):
            total = torch.where(data_dict["resets"][:, step], torch.zeros_like(total), total) + values[:, step, :1]
            sums.append(total)
        return {"values": torch.stack(sums, dim=1) * self.weight, "total": total}


ROWS = {
    "state": torch.tensor([[1.0], [2.0], [3.0], [10.0], [20.0], [30.0]]),
    "other": torch.zeros(6, 2),
    "total": torch.tensor([[100.0], [200.0]]),
    "resets": torch.tensor([[False], [False], [True], [True], [False], [False]]),
}


@pytest.mark.parametrize("concat", [True, False])
def test_compute_sees_sequences_and_everybody_else_rows(concat: bool) -> None:
    model = Total(concat)
    outputs = model.act(ROWS)
    # Two sequences of three steps, the second sequence begins an episode at once, the first at its last step.
    assert outputs["values"].flatten().tolist() == [202.0, 206.0, 6.0, 20.0, 60.0, 120.0]
    assert outputs["total"].flatten().tolist() == [3.0, 60.0]
    observation = "features" if concat else "state"
    assert model.seen == {observation: (2, 3, 1), "total": (2, 1), "resets": (2, 3, 1)}


@pytest.mark.parametrize("concat", [True, False])
def test_selecting_twice_changes_nothing(concat: bool) -> None:
    model = Total(concat)
    once = model.select_inputs(ROWS)
    twice = model.select_inputs(once)
    assert list(once) == list(twice) == ["features" if concat else "state", "total", "resets"]
    assert all(once[name] is twice[name] for name in once)


def test_a_model_that_reads_everything_does_not_take_its_state_for_an_observation() -> None:
    model = Total(concat=False, names=None)
    assert list(model.select_inputs(ROWS)) == ["state", "other", "total", "resets"]
    assert model.input_names(ROWS) == ["state", "other"]


def test_the_state_of_a_beginning() -> None:
    model = Total()
    begin = model.initial_state(2)
    assert begin["total"].tolist() == [[0.0], [0.0]] and begin["resets"].tolist() == [[True], [True]]
    outputs = model.act(dict(begin, state=torch.tensor([[1.0], [2.0]])))
    assert outputs["values"].flatten().tolist() == [2.0, 4.0]
    assert DEFAULT.initial_state(2) == {} and not DEFAULT.recurrent_state


class Plain(Model):
    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"]))


DEFAULT = Plain()


class Spoiled(Total):
    """Returns what it should not."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Any:
        return self.result


@pytest.mark.parametrize(
    "result, message",
    [
        (torch.zeros(2, 3, 1), r"must return the recurrent state 'total' .* of shape \(2, 1\); it returned a Tensor"),
        ({"values": torch.zeros(2, 3, 1)}, r"recurrent state 'total' .*; it returned only \['values'\]"),
        (
            {"values": torch.zeros(2, 3, 1), "total": torch.zeros(2, 3, 1)},
            r"of shape \(2, 1\); it returned \(2, 3, 1\)",
        ),
    ],
)
def test_what_compute_must_return(result: Any, message: str) -> None:
    with pytest.raises(ModelError, match="Spoiled.compute .*" + message):
        Spoiled(result).outputs(ROWS)


def test_a_value_without_its_last_axis_is_an_error() -> None:
    model = Spoiled({"values": torch.zeros(2, 3), "total": torch.zeros(2, 1)})
    with pytest.raises(ModelError, match=r"returned 'values' of shape \(6,\); expected \(6, 1\)"):
        model.require_output(model.outputs(ROWS), "values", (6, 1))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"total": None}, "is recurrent and needs 'total' beside the observations, but got 'state', 'other', 'resets'"),
        ({"resets": None}, r"is recurrent and needs 'resets' .* initial_state\(rows\) gives them"),
        ({"total": torch.zeros(4, 1)}, "6 rows with recurrent states for 4 sequences; expected equally long"),
        ({"total": torch.zeros(2, 5)}, r"the recurrent state 'total' of shape \(2, 5\); expected \(B, 1,\)"),
    ],
)
def test_what_a_recurrent_model_must_be_given(change: Dict[str, Any], message: str) -> None:
    rows = {name: value for name, value in dict(ROWS, **change).items() if value is not None}
    with pytest.raises(ModelError, match=message):
        Total().outputs(rows)


def test_a_bare_tensor_has_no_state() -> None:
    with pytest.raises(ModelError, match="Total expects a dict of tensors"):
        Total().outputs(torch.zeros(6, 1))


def test_names_that_clash() -> None:
    layout = layout_of(
        spaces.Dict({"state": spaces.Box(-1.0, 1.0, (1,)), "total": spaces.Box(-1.0, 1.0, (1,))}), "state"
    )
    with pytest.raises(ModelError, match="calls something 'total', but so is an observation; rename the state"):
        Total().bind(layout.specs)
    layout = layout_of(spaces.Dict({"state": spaces.Box(-1.0, 1.0, (1,)), "resets": spaces.Discrete(2)}), "state")
    with pytest.raises(ModelError, match="calls something 'resets', but so is an observation; rename the observation"):
        Total().bind(layout.specs)
    model = Total()
    model.recurrent_state = {"values": (1,)}
    with pytest.raises(ModelError, match="has the name 'values', which means something else; choose another one"):
        model.bind({})


# ------------------------------------------------------------------ several actions


class Move(GaussianModel):
    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.encoder = RecurrentEncoder(1, 4)
        self.recurrent_state = self.encoder.recurrent_state
        self.log_std_parameter = nn.Parameter(torch.zeros(4))

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        features, states = self.encoder(data_dict["features"], data_dict, data_dict["resets"])
        return dict(states, mean_actions=features)


class Grip(CategoricalModel):
    """Without memory, and reads all that it is given."""

    def __init__(self) -> None:
        super().__init__(ModelCfg())

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> torch.Tensor:
        assert list(data_dict) == ["state", "other"]
        return torch.cat([data_dict["state"], data_dict["other"]], dim=1)


def test_a_part_with_memory_beside_one_without() -> None:
    move = Move()
    policy = CompositeModel({"move": move, "grip": Grip()})
    assert policy.recurrent_state == {"move/hidden": (1, 4)}
    hidden = torch.randn(2, 1, 4)
    rows = {"state": ROWS["state"], "other": ROWS["other"], "move/hidden": hidden, "resets": ROWS["resets"]}
    acted = policy.act(rows)
    alone = move.outputs({"state": ROWS["state"], "hidden": hidden, "resets": ROWS["resets"]})
    assert torch.equal(acted["move/mean_actions"], alone["mean_actions"])
    assert torch.equal(acted["move/hidden"], alone["hidden"])
    assert tuple(acted["actions"]["move"].shape) == (6, 4) and tuple(acted["actions"]["grip"].shape) == (6, 1)
    judged = policy.evaluate(policy.select_inputs(rows), acted["actions"])
    torch.testing.assert_close(judged["log_prob"], acted["log_prob"], rtol=0.0, atol=1e-6)


# ------------------------------------------------------------------ ready-made


def info_of(observations: gymnasium.Space, actions: gymnasium.Space) -> Dict[str, Any]:
    return {
        "observation_cfg": layout_of(observations, "state").specs,
        "action_cfg": layout_of(actions, "action").specs,
    }


OBSERVATIONS = {
    "vector": spaces.Box(-1.0, 1.0, (3,), np.float32),
    "category": spaces.Discrete(4),
    "image and vector": spaces.Dict(
        {"image": spaces.Box(0, 255, (8, 8, 3), np.uint8), "vector": spaces.Box(-1.0, 1.0, (2,), np.float32)}
    ),
}
ACTIONS = {
    "box": spaces.Box(-1.0, 1.0, (2, 2), np.float32),
    "discrete": spaces.Discrete(3),
    "multi discrete": spaces.MultiDiscrete([2, 3]),
    "dict": spaces.Dict({"move": spaces.Box(-1.0, 1.0, (2,), np.float32), "grip": spaces.Discrete(2)}),
}


def ready_made(observations: str, actions: str, **options: Any) -> Tuple[Dict[str, Model], Dict[str, torch.Tensor]]:
    """Models, and ten rows of observations for them."""
    info = info_of(OBSERVATIONS[observations], ACTIONS[actions])
    models = default_models(info, hidden_sizes=(6,), recurrent_size=5, **options)
    policy: Any = models["policy"]
    policy.bind(info["observation_cfg"])
    policy.bind_actions(info["action_cfg"])
    rows = {}
    for name, spec in info["observation_cfg"].items():
        high = 256 if spec.dtype == "uint8" else 4
        drawn = torch.randint(high, (10,) + spec.shape)
        rows[name] = drawn.to(getattr(torch, spec.dtype))
    return models, rows


@pytest.mark.parametrize(
    "actions, shared",
    [(name, shared) for name in ACTIONS for shared in (False, True) if not (shared and name == "dict")],
)
@pytest.mark.parametrize("observations", sorted(OBSERVATIONS))
@pytest.mark.parametrize("cell", CELLS)
def test_ready_made_models_remember(cell: str, observations: str, actions: str, shared: bool) -> None:
    models, rows = ready_made(observations, actions, recurrent=cell, shared=shared)
    resets = torch.zeros(10, 1, dtype=torch.bool)
    resets[0] = resets[5] = resets[7] = True
    for role, output in (("policy", "log_prob"), ("value", "values")):
        model: Any = models[role]
        states = {name: state for name, state in model.initial_state(2).items() if name != "resets"}
        block = dict(rows, **states, resets=resets)
        acted = model.act_deterministic(block)
        # Step by step, for the two sequences at once.
        for step in range(5):
            chosen = {name: value[[step, 5 + step]] for name, value in rows.items()}
            one = model.act_deterministic(dict(chosen, **states, resets=resets[[step, 5 + step]]))
            states = {name: one[name] for name in states}
            torch.testing.assert_close(one[output], acted[output][[step, 5 + step]], rtol=0.0, atol=1e-5)
        for name, state in states.items():
            torch.testing.assert_close(state, acted[name], rtol=0.0, atol=1e-5)


def test_the_ready_made_policy_depends_on_the_past_and_that_without_memory_does_not() -> None:
    models, rows = ready_made("vector", "box", recurrent="gru")
    resets = torch.zeros(10, 1, dtype=torch.bool)
    resets[0] = True
    states = {name: state for name, state in models["policy"].initial_state(1).items() if name != "resets"}
    first = models["policy"].act_deterministic(dict(rows, **states, resets=resets))["mean_actions"]
    changed = {name: value.clone() for name, value in rows.items()}
    changed["state"][2] += 1.0
    second = models["policy"].act_deterministic(dict(changed, **states, resets=resets))["mean_actions"]
    differs = (first != second).flatten(1).any(dim=1)
    assert not bool(differs[:2].any()) and bool(differs[2:].all())
    assert not ready_made("vector", "box")[0]["policy"].recurrent_state


def test_mistakes_in_asking_for_ready_made_models() -> None:
    with pytest.raises(ModelError, match=r"default_models: recurrent is 'lsmt'. Did you mean 'lstm'\?"):
        ready_made("vector", "box", recurrent="lsmt")
