"""What a checkpoint can hold comes back to the bit; what it cannot is refused by its place."""

import os
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saved_values import FILE, same, through_file

from AquaML.errors import CheckpointError

TENSOR_TYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
ARRAY_TYPES = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"] + [
    "float16",
    "float32",
    "float64",
]


@pytest.mark.parametrize("name", TENSOR_TYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3, 4)])
def test_tensors_of_every_type_and_shape(name: str, shape: Any) -> None:
    tensor = (torch.randn(shape) * 3).to(getattr(torch, name))
    read = through_file(tensor)
    assert same(tensor, read)
    read.zero_()  # what was read can be written to


@pytest.mark.parametrize("name", ARRAY_TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_of_every_type_and_byte_order(name: str, order: str) -> None:
    array = (np.arange(12).reshape(3, 4) % 7).astype(np.dtype(name).newbyteorder(order))
    assert same(array, through_file(array))
    assert same(array[:, ::2].T, through_file(array[:, ::2].T))
    assert same(array[0, 0:1].reshape(()), through_file(array[0, 0:1].reshape(())))


def test_views_special_numbers_and_gradients() -> None:
    base = torch.arange(24.0).reshape(4, 6)
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-45])
    values = {
        "transposed": base.t(),
        "strided": base[::2, 1::3],
        "expanded": torch.ones(1).expand(3, 2),
        "special": special,
        "gradient": torch.nn.Parameter(torch.ones(2)).detach().requires_grad_(),
    }
    read = through_file(values)
    assert all(same(value.detach(), read[name]) for name, value in values.items())


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        2**63,
        2**64 + 1,
        -(2**200),
        -(16**4000),
        0.1,
        -0.0,
        5e-324,
        float("nan"),
        float("inf"),
        -float("inf"),
        "",
        '文字 \U0001f600 \n\0 " \\ é',
        "\ud800",
        [],
        (),
        {},
        [1, (2, [3.5, (None,)])],
        {"a": {"b": [{"c": (1, 2)}]}},
        {5: "x", -5: "y", True: "z"},
        {(1, "a"): 2, None: 3, 2.5: 4, "text": 5},
        {"$": 1},
        {"$": "tensor", "dtype": "float32"},
        {"a": {"$": {"$": "tuple", "items": []}}},
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_values(value: Any) -> None:
    assert same(value, through_file(value))


def test_numpy_scalars_become_numbers() -> None:
    values = [np.float32(0.5), np.float64("nan"), np.int64(3), np.uint64(2**64 - 1), np.bool_(True), np.float16(2)]
    read = through_file(values)
    assert same(read, [0.5, float("nan"), 3, 2**64 - 1, True, 2.0])


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**130), 2**130) | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.just("$") | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plain)
def test_any_nesting_of_plain_values(value: Any) -> None:
    assert same(value, through_file(value))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [0, {1, 2}]}, "parts.part.state.a[1] holds a set"),
        ({"f": len}, "parts.part.state.f holds a builtin_function_or_method"),
        (b"bytes", "parts.part.state holds a bytes"),
        (torch.ones(2, dtype=torch.complex64), "parts.part.state is a tensor of type torch.complex64"),
        (torch.eye(2).to_sparse(), "layout torch.sparse_coo"),
        (np.array(["text"]), "is an array of type <U4"),
        (np.array([object()]), "is an array of type object"),
        (np.longdouble(1), "holds a {}".format(type(np.longdouble(1)).__name__)),
        ({"x": {(1, 2): [object()]}}, "parts.part.state.x.(1, 2)[0] holds a object"),
        (torch.ones(2, device="meta"), "parts.part.state is a tensor without plain data"),
        ({"n": 16**5000}, "parts.part.state.n is an integer of more than 4096 hexadecimal digits"),
        (nested(200), "is nested deeper than 128 levels, or within itself"),
        (nested(126), "129 levels of nesting, more than a checkpoint may hold"),
        ([0] * 500_000, "values outside of tensors"),
        (
            np.zeros((1,) * 32, np.int8)[None] if np.__version__ >= "2" else {1},
            "axes" if np.__version__ >= "2" else "set",
        ),
    ],
)
def test_unsupported_values_are_refused_by_place(value: Any, words: str) -> None:
    if isinstance(value, np.longdouble) and np.dtype(np.longdouble) == np.dtype(np.float64):
        words = ""
    with pytest.raises(CheckpointError) as caught:
        through_file(value)
    assert words in str(caught.value)
    assert not FILE.exists() and os.listdir(".") == []
