"""Layouts of spaces: names, round trips, bounds, and what is refused."""

import json
from collections import OrderedDict
from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.spaces import SpaceLayout, check_action_leaves, layout_of, store_leaf
from AquaML.errors import EnvironmentContractError, SpaceError

QUICK = settings(deadline=None, max_examples=60)

shapes = st.sampled_from([(), (1,), (3,), (2, 2), (2, 1, 3)])
keys = st.text(alphabet="abcdefgh_ é", min_size=1, max_size=4)


@st.composite
def boxes(draw: Any) -> spaces.Box:
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16, np.uint8, np.int8, np.int16, np.int32, np.int64]))
    shape = draw(shapes)
    if np.dtype(dtype).kind == "f":
        low, high = draw(st.sampled_from([(-np.inf, np.inf), (0.0, np.inf), (-np.inf, 2.0), (-1.5, 2.5)]))
        return spaces.Box(low, high, shape, dtype)
    return spaces.Box(0, 100, shape, dtype)


leaves = st.one_of(
    boxes(),
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 5), st.integers(-3, 3)),
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(spaces.MultiDiscrete),
    st.sampled_from([np.array([[2, 3], [4, 1]]), np.array([[5]])]).map(spaces.MultiDiscrete),
    st.sampled_from([3, (2, 2)]).map(spaces.MultiBinary),
)


def nested(children: Any) -> Any:
    return st.one_of(
        st.dictionaries(keys, children, min_size=1, max_size=3).map(spaces.Dict),
        st.lists(children, min_size=1, max_size=3).map(spaces.Tuple),
    )


any_space = st.recursive(leaves, nested, max_leaves=6)


def store(layout: SpaceLayout, values: List[Any]) -> Dict[str, np.ndarray]:
    """Store one native value per environment, row by row."""
    stored = {name: np.zeros((len(values),) + spec.shape, spec.dtype) for name, spec in layout.specs.items()}
    for row, value in enumerate(values):
        for name, leaf in layout.flatten(value).items():
            store_leaf(layout.specs[name], leaf, stored[name][row])
    return stored


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, (dict, OrderedDict)):
        assert list(one) == list(other)
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for ours, theirs in zip(one, other):
            assert_equal(ours, theirs)
    else:
        np.testing.assert_allclose(np.asarray(one, np.float64), np.asarray(other, np.float64), rtol=1e-6)


@QUICK
@given(space=any_space, seed=st.integers(0, 1000))
def test_a_sample_survives_flatten_and_unflatten(space: Any, seed: int) -> None:
    space.seed(seed)
    sample, layout = space.sample(), layout_of(space, "state")
    flat = layout.flatten(sample)
    assert list(flat) == list(layout.specs)
    assert_equal(dict(sample) if isinstance(sample, OrderedDict) else sample, layout.unflatten(flat))


@QUICK
@given(space=any_space, seed=st.integers(0, 1000))
def test_stored_actions_become_the_native_sample_again(space: Any, seed: int) -> None:
    space.seed(seed)
    samples, layout = [space.sample() for _ in range(3)], layout_of(space, "action")
    stored = store(layout, samples)
    before = {name: value.copy() for name, value in stored.items()}
    transform = ActionTransform(layout, "clip")
    native = transform(stored)
    for row, sample in enumerate(samples):
        action = transform.row(native, row)
        assert space.contains(action), (action, space)
        assert_equal(layout.unflatten(layout.flatten(sample)), action)
    for name, value in stored.items():
        np.testing.assert_array_equal(value, before[name])


@QUICK
@given(space=any_space, seed=st.integers(0, 1000))
def test_stored_observations_keep_to_their_specification(space: Any, seed: int) -> None:
    space.seed(seed)
    layout = layout_of(space, "state")
    for name, values in store(layout, [space.sample(), space.sample()]).items():
        spec = layout.specs[name]
        assert len(spec.shape) >= 1 and hasattr(torch, spec.dtype)
        assert spec.low.shape == spec.high.shape == spec.shape
        assert (values >= spec.low - 1e-3).all() and (values <= spec.high + 1e-3).all()


@QUICK
@given(space=any_space, seed=st.integers(0, 1000))
def test_a_batch_is_stored_like_its_rows(space: Any, seed: int) -> None:
    space.seed(seed)
    samples, layout = [space.sample() for _ in range(3)], layout_of(space, "state")
    rows = store(layout, samples)
    batch = {name: np.stack([layout.flatten(sample)[name] for sample in samples]) for name in layout.specs}
    for name, spec in layout.specs.items():
        whole = np.zeros_like(rows[name])
        store_leaf(spec, batch[name], whole)
        np.testing.assert_array_equal(whole, rows[name])


@QUICK
@given(space=any_space)
def test_a_layout_survives_json(space: Any) -> None:
    layout = layout_of(space, "state")
    again = SpaceLayout.from_dict(json.loads(json.dumps(layout.to_dict())))
    assert again == layout and not layout.differences(again)


def test_names_shapes_and_types_of_every_kind() -> None:
    layout = layout_of(
        spaces.Dict(
            OrderedDict(
                b=spaces.Box(-1.0, 1.0, (2, 3), np.float64),
                a=spaces.Dict({"x": spaces.Discrete(4, start=10), "y": spaces.Tuple([spaces.MultiBinary((2, 2))])}),
                image=spaces.Box(0, 255, (4, 4, 3), np.uint8),
                flag=spaces.Box(0, 1, (2,), np.bool_),
                number=spaces.Box(0.0, np.inf, (), np.float32),
                grid=spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
            )
        ),
        "state",
    )
    table = {name: (spec.kind, spec.shape, spec.dtype) for name, spec in layout.specs.items()}
    assert table == {
        "b": ("box", (2, 3), "float32"),
        "a/x": ("discrete", (1,), "int64"),
        "a/y/0": ("multi_binary", (2, 2), "int8"),
        "image": ("box", (4, 4, 3), "uint8"),
        "flag": ("box", (2,), "bool"),
        "number": ("box", (1,), "float32"),
        "grid": ("multi_discrete", (2, 2), "int64"),
    }
    assert layout.specs["grid"].sizes == (2, 3, 4, 5) and layout.specs["grid"].one_hot_size == 14
    assert layout.specs["a/x"].start == (10,) and layout.specs["a/x"].high.tolist() == [3.0]
    assert layout.specs["number"].low.tolist() == [0.0] and layout.specs["number"].high.tolist() == [np.inf]
    assert layout_of(spaces.Discrete(2), "action").specs["action"].shape == (1,)
    assert list(layout_of(spaces.Tuple([spaces.Discrete(2), spaces.Discrete(3)]), "action").specs) == ["0", "1"]


def test_discrete_values_are_stored_from_zero() -> None:
    layout = layout_of(spaces.Discrete(3, start=-1), "action")
    stored = store(layout, [-1, 0, 1])["action"]
    assert stored.dtype == np.int64 and stored.tolist() == [[0], [1], [2]]
    transform = ActionTransform(layout)
    assert [transform.row(transform({"action": stored}), row) for row in range(3)] == [-1, 0, 1]


class Plain:
    """What an old gym space looks like: the right class name and attributes, another package."""


def test_spaces_of_other_packages_are_recognised_by_name() -> None:
    box = type("Box", (Plain,), dict(low=np.zeros(2), high=np.ones(2), shape=(2,), dtype=np.float32))()
    assert layout_of(box, "state").specs["state"].shape == (2,)


@pytest.mark.parametrize(
    "space, message",
    [
        (spaces.Text(5), r"'state'.*Text is not supported"),
        (spaces.Dict({"a": spaces.Sequence(spaces.Discrete(2))}), r"'a'.*Sequence is not supported"),
        (spaces.Tuple([spaces.Graph(spaces.Discrete(2), None)]), r"'0'.*Graph is not supported"),
        (spaces.Dict({"a": spaces.Text(3)}), r"'a'.*Text is not supported"),
        (spaces.Dict({"a/b": spaces.Discrete(2)}), r"'a/b' contains '/'"),
        (spaces.Dict({"a": spaces.Dict({"b/c": spaces.Discrete(2)})}), r"'b/c' inside 'a' contains '/'"),
        (spaces.Dict({"": spaces.Discrete(2)}), r"'' is no name"),
        (spaces.Dict({1: spaces.Discrete(2)}), r"1 is no name"),
        (spaces.Dict({}), r"holds nothing"),
        (spaces.Tuple([]), r"holds nothing"),
        (spaces.Box(0.0, 1.0, (0,)), r"'state' has shape \(0,\)"),
    ],
)
def test_what_cannot_be_represented_is_refused(space: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        layout_of(space, "state")


def test_complex_numbers_are_refused() -> None:
    box = type("Box", (Plain,), dict(low=np.zeros(2), high=np.ones(2), shape=(2,), dtype=np.complex64))()
    with pytest.raises(SpaceError, match="complex64"):
        layout_of(box, "state")


def test_clip_half_bounded_and_unbounded() -> None:
    space = spaces.Box(np.array([0.0, -np.inf, -np.inf, -1.0]), np.array([np.inf, 0.5, np.inf, 1.0]), dtype=np.float64)
    transform = ActionTransform(layout_of(space, "action"))
    given_values = np.full((1, 4), 7.0, np.float32)
    native = transform({"action": given_values})["action"]
    assert native.dtype == np.float64 and native.tolist() == [[7.0, 0.5, 7.0, 1.0]]
    assert transform({"action": -given_values})["action"].tolist() == [[0.0, -7.0, -7.0, -1.0]]
    assert (given_values == 7.0).all()


def test_rescale_maps_minus_one_to_one_onto_the_bounds() -> None:
    transform = ActionTransform(layout_of(spaces.Box(np.float32(-2), np.float32(6), (5,)), "action"), "rescale")
    native = transform({"action": np.array([[-1.0, 0.0, 1.0, 0.5, 3.0]], np.float32)})["action"]
    assert native.dtype == np.float32 and native.tolist() == [[-2.0, 2.0, 6.0, 4.0, 6.0]]


def test_no_bounds_passes_actions_on() -> None:
    transform = ActionTransform(layout_of(spaces.Box(-1.0, 1.0, (2,)), "action"), "none")
    assert transform({"action": np.array([[5.0, -3.0]], np.float32)})["action"].tolist() == [[5.0, -3.0]]


def test_real_actions_become_the_nearest_whole_numbers() -> None:
    transform = ActionTransform(layout_of(spaces.Box(0, 10, (4,), np.int32), "action"))
    native = transform({"action": np.array([[0.6, 2.4, -3.0, 99.0]], np.float32)})["action"]
    assert native.dtype == np.int32 and native.tolist() == [[1, 2, 0, 10]]


@pytest.mark.parametrize("space", [spaces.Box(0.0, np.inf, (1,)), spaces.Box(-np.inf, np.inf, (1,))])
def test_rescale_needs_bounds(space: Any) -> None:
    with pytest.raises(SpaceError, match=r"'rescale' needs finite bounds, but action 'action' has low"):
        ActionTransform(layout_of(space, "action"), "rescale")


def test_unknown_bounds_mode() -> None:
    with pytest.raises(SpaceError, match=r"action_bounds is 'cut'; expected one of"):
        ActionTransform(layout_of(spaces.Box(0.0, 1.0, (1,)), "action"), "cut")


@pytest.mark.parametrize(
    "value, message",
    [
        ([1.0], r"Expected a dict with the keys 'a', 'b', got a list of 1"),
        ({"a": 1}, r"keys 'a', 'b', got the keys 'a'"),
        ({"a": 1, "b": (1,), "c": 1}, r"got the keys 'a', 'b', 'c'"),
        ({"a": 1, "b": (1, 2)}, r"Expected a tuple of 1 parts, got a tuple of 2"),
        ({"a": 1, "b": 5}, r"Expected a tuple of 1 parts, got int"),
    ],
)
def test_values_of_another_nesting(value: Any, message: str) -> None:
    layout = layout_of(spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Tuple([spaces.Discrete(2)])}), "state")
    with pytest.raises(EnvironmentContractError, match=message):
        layout.flatten(value)


@pytest.mark.parametrize(
    "space, value, message",
    [
        (spaces.Box(0.0, 1.0, (2,)), np.zeros(3), r"'state' has shape \(3,\), but its space declares \(2,\)"),
        (spaces.Box(0.0, 1.0, (1,)), np.float32(0.0), r"has shape \(\), but its space declares \(1,\)"),
        (spaces.Box(0, 255, (2,), np.uint8), np.zeros(2, np.float32), r"type float32, but its space declares uint8"),
        (spaces.Discrete(3), np.float64(1.0), r"type float64, but its space declares int64"),
        (spaces.Box(0.0, 1.0, (2,)), np.array(["a", "b"]), r"type <U1, but its space declares float32"),
    ],
)
def test_values_of_another_shape_or_type(space: Any, value: Any, message: str) -> None:
    spec = layout_of(space, "state").specs["state"]
    with pytest.raises(EnvironmentContractError, match=message):
        store_leaf(spec, np.asarray(value), np.zeros(spec.shape, spec.dtype))


@pytest.mark.parametrize(
    "actions, message",
    [
        ({"move": torch.zeros(2, 3)}, r"the agent gave actions 'move'; expected 'grip', 'move'"),
        ({"move": torch.zeros(2, 3), "grip": torch.zeros(1, 1)}, r"'grip' of shape \(1, 1\); expected \(2, 1\)"),
        ({"move": torch.zeros(3), "grip": torch.zeros(2, 1)}, r"'move' of shape \(3,\); expected \(2, 3\)"),
        ({"move": None, "grip": torch.zeros(2, 1)}, r"gave NoneType as action 'move'; expected a tensor"),
        (torch.zeros(2, 3), r"expected a dict of tensors with the keys 'grip', 'move'"),
        (None, r"gave NoneType; expected a dict"),
    ],
)
def test_wrong_actions(actions: Any, message: str) -> None:
    space = spaces.Dict({"grip": spaces.Discrete(2), "move": spaces.Box(-1.0, 1.0, (3,))})
    with pytest.raises(EnvironmentContractError, match=message):
        check_action_leaves(layout_of(space, "action").specs, actions, 2, "the agent")


@pytest.mark.parametrize("value, shown", [(3, r"\[3\]"), (-1, r"\[-1\]")])
def test_categories_out_of_range(value: int, shown: str) -> None:
    transform = ActionTransform(layout_of(spaces.Discrete(3, start=5), "action"))
    with pytest.raises(EnvironmentContractError, match=r"'action' is {} for environment 1".format(shown)):
        transform({"action": np.array([[0], [value]])})


def test_actions_that_are_not_numbers() -> None:
    transform = ActionTransform(layout_of(spaces.Box(-1.0, 1.0, (2,)), "action"))
    with pytest.raises(EnvironmentContractError, match=r"'action' holds NaN for environment 2"):
        transform({"action": np.array([[0.0, 0.0], [0.0, 0.0], [0.0, np.nan]])})


def test_specifications_read_as_mappings() -> None:
    spec = layout_of(gymnasium.make("Pendulum-v1").action_space, "action").specs["action"]
    assert spec["shape"] == (1,) and spec["dtype"] == "float32"
    with pytest.raises(KeyError):
        spec["colour"]


def test_differences_name_leaf_and_field() -> None:
    one = layout_of(spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Discrete(2)}), "state")
    other = layout_of(spaces.Dict({"a": spaces.Discrete(3)}), "state")
    lines = one.differences(other)
    assert "keys ['a'] instead of ['a', 'b']" in lines and "a.sizes is [3] instead of [2]" in lines
