"""The checkpoint file: what it holds, and what happens to damaged ones."""

import json
import math
import os
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from AquaML.coordinator.checkpoint_format import FORMAT_VERSION, Checkpoint, read_checkpoint, write_checkpoint
from AquaML.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointNotFoundError,
    CheckpointVersionError,
)

FILE = Path("a.pt")


def raw(tensor: torch.Tensor) -> bytes:
    flat = tensor.contiguous().reshape(-1)
    return (flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat).numpy().tobytes()


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return (
            isinstance(right, torch.Tensor)
            and left.dtype == right.dtype
            and left.shape == right.shape
            and raw(left) == raw(right)
        )
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and left.dtype.newbyteorder("=") == right.dtype
            and left.shape == right.shape
            and left.astype(right.dtype).tobytes() == right.tobytes()
        )
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or repr(left) == repr(right)
    return left == right


def through_file(value: Any) -> Any:
    parts = {"part": {"role": "run", "class": "Thing", "state": value}}
    write_checkpoint(FILE, Checkpoint({"kind": "test"}, parts))
    read = read_checkpoint(FILE)
    assert read.metadata == {"kind": "test"}
    return read.parts["part"]["state"]


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
        16**5000,
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
    ],
)
def test_unsupported_values_are_refused_by_place(value: Any, words: str) -> None:
    if isinstance(value, np.longdouble) and np.dtype(np.longdouble) == np.dtype(np.float64):
        words = ""
    with pytest.raises(CheckpointError) as caught:
        through_file(value)
    assert words in str(caught.value)
    assert not FILE.exists() and os.listdir(".") == []


def small() -> Checkpoint:
    state = {"weight": torch.arange(6.0).reshape(2, 3), "step": 3, "half": torch.ones(2, dtype=torch.bfloat16)}
    return Checkpoint({"kind": "test"}, {"part": {"role": "run", "class": "Thing", "state": state}})


def test_a_failed_write_leaves_the_old_file_and_nothing_else(monkeypatch: Any) -> None:
    write_checkpoint(FILE, small())
    before = FILE.read_bytes()
    real = os.replace

    def refuse(source: str, target: str) -> None:
        assert Path(source).stat().st_size > 0
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(CheckpointError, match="Cannot save 'a.pt'.*No space left"):
        write_checkpoint(FILE, small())
    monkeypatch.setattr(os, "replace", real)
    assert os.listdir(".") == ["a.pt"] and FILE.read_bytes() == before
    bad = small()
    bad.parts["part"]["state"]["weight"] = object()
    with pytest.raises(CheckpointError):
        write_checkpoint(FILE, bad)
    assert os.listdir(".") == ["a.pt"] and FILE.read_bytes() == before


def test_places_that_cannot_be_written() -> None:
    Path("folder").mkdir()
    with pytest.raises(CheckpointError, match="'folder': it is a folder"):
        write_checkpoint("folder", small())
    FILE.write_bytes(b"")
    with pytest.raises(CheckpointError, match="Cannot save"):
        write_checkpoint(FILE / "below" / "b.pt", small())
    assert write_checkpoint("new/deep/b.anything", small()).is_file()
    long_name = "n" * 255
    assert write_checkpoint(long_name, small()).is_file()


def test_truncation_at_every_byte() -> None:
    write_checkpoint(FILE, small())
    whole = FILE.read_bytes()
    cut = Path("cut.pt")
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(CheckpointCorruptError, match=r"cut\.pt.*damaged"):
            read_checkpoint(cut)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_are_noticed_or_harmless(data: Any) -> None:
    write_checkpoint(FILE, small())
    content = bytearray(FILE.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    changed = Path("changed.pt")
    changed.write_bytes(bytes(content))
    try:
        read = read_checkpoint(changed)
    except CheckpointCorruptError:
        return
    assert same(read.parts, small().parts) and read.metadata == small().metadata


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_garbage(content: bytes) -> None:
    FILE.write_bytes(content)
    with pytest.raises(CheckpointCorruptError):
        read_checkpoint(FILE)


def archive(document: Any, **members: bytes) -> Path:
    with zipfile.ZipFile(str(FILE), "w") as file:
        file.writestr("metadata.json", document if isinstance(document, str) else json.dumps(document))
        for name, content in members.items():
            file.writestr(name, content)
    return FILE


def header(**changes: Any) -> Dict[str, Any]:
    document = {"format": "AquaML checkpoint", "format_version": FORMAT_VERSION, "metadata": {}, "parts": {}}
    document.update(changes)
    return document


@pytest.mark.parametrize(
    "document",
    [
        "[1]",
        "nonsense",
        "[" * 100000,
        header(format="other"),
        header(format_version="1"),
        header(format_version=0),
        header(parts=[]),
        header(metadata=3),
        header(parts={"a": 1}),
        header(parts={"a": {"role": "run", "class": "A"}}),
        header(metadata={"a": {"$": "code", "value": "x"}}),
        header(metadata={"a": {"$": "float", "value": "x"}}),
        header(metadata={"a": {"$": "dict", "items": [[[1], 2]]}}),
        header(metadata={"a": {"$": "tensor", "dtype": "float32", "shape": [3], "member": "absent"}}),
        header(metadata={"a": {"$": "tensor", "dtype": "float32", "shape": [3], "member": "eight"}}),
        header(metadata={"a": {"$": "tensor", "dtype": "float32", "shape": [2**62, 2**62], "member": "eight"}}),
        header(metadata={"a": {"$": "tensor", "dtype": "float32", "shape": [-2], "member": "eight"}}),
        header(metadata={"a": {"$": "tensor", "dtype": "object", "shape": [1], "member": "eight"}}),
        header(metadata={"a": {"$": "array", "dtype": "object", "shape": [1], "member": "eight"}}),
    ],
)
def test_well_formed_archives_with_wrong_content(document: Any) -> None:
    with pytest.raises(CheckpointCorruptError):
        read_checkpoint(archive(document, eight=b"12345678"))
    assert read_checkpoint(archive(header())).parts == {}


def test_newer_version_torch_file_folder_and_missing_file() -> None:
    with pytest.raises(CheckpointVersionError, match="format version 2; this AquaML reads up to 1. Update AquaML"):
        read_checkpoint(archive(header(format_version=FORMAT_VERSION + 1, metadata="of another form")))
    torch.save({"weight": torch.ones(2)}, "torch.pt")
    with pytest.raises(CheckpointCorruptError, match="import_torch_weights"):
        read_checkpoint("torch.pt")
    Path("folder").mkdir()
    with pytest.raises(CheckpointNotFoundError, match="'folder' is a folder"):
        read_checkpoint("folder")
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint file 'absent.pt'"):
        read_checkpoint("absent.pt")
    with pytest.raises(FileNotFoundError):
        read_checkpoint("absent.pt")
    Path("empty.pt").write_bytes(b"")
    with pytest.raises(CheckpointCorruptError):
        read_checkpoint("empty.pt")


def test_encrypted_member_is_corrupt() -> None:
    archive(header())
    content = bytearray(FILE.read_bytes())
    content[6] |= 1  # general purpose flag of the local header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and of the central directory
    FILE.write_bytes(bytes(content))
    with pytest.raises(CheckpointCorruptError, match="encrypted"):
        read_checkpoint(FILE)


def test_reading_imports_and_runs_nothing() -> None:
    """A file is data: even one that names modules and classes brings no module in and calls nothing."""
    document = header(
        metadata={"class": "antigravity.Thing", "callable": "os.system", "$id": "builtins.eval"},
        parts={"a": {"role": "run", "class": "antigravity.Thing", "state": {"__reduce__": ["os.mkdir", ["made"]]}}},
    )
    archive(document)
    loaded, events = set(sys.modules), []
    active = [True]

    def watch(event: str, arguments: Any) -> None:
        if active[0] and event in ("import", "exec", "compile", "os.system", "os.mkdir", "subprocess.Popen"):
            events.append((event, str(arguments)[:80]))

    if sys.version_info >= (3, 8):
        sys.addaudithook(watch)
    try:
        read_checkpoint(FILE)
    finally:
        active[0] = False
    assert set(sys.modules) == loaded and events == []
    assert not Path("made").exists()


def test_the_file_is_read_by_zipfile_and_json_alone() -> None:
    write_checkpoint(FILE, small())
    with zipfile.ZipFile(str(FILE)) as file:
        document = json.loads(file.read("metadata.json").decode("utf-8"))
        entry = document["parts"]["part"]["state"]["weight"]
        assert entry["dtype"] == "float32" and entry["shape"] == [2, 3]
        assert np.frombuffer(file.read(entry["member"]), "<f4").tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert document["format_version"] == 1
