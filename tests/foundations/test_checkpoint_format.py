"""The checkpoint file: what it holds, and what happens to damaged ones."""

import hashlib
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saved_values import FILE, same, through_file

from AquaML.coordinator.checkpoint_archive import write_archive
from AquaML.coordinator.checkpoint_format import (
    FORMAT_VERSION,
    Checkpoint,
    read_checkpoint,
    read_metadata,
    write_checkpoint,
)
from AquaML.coordinator.state_codec import Blob
from AquaML.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointNotFoundError,
    CheckpointTruncatedError,
    CheckpointVersionError,
    CheckpointWriteError,
)
from benchmarks.reliability.forging import redigest


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


def test_a_value_within_itself_is_refused() -> None:
    ring: List[Any] = []
    ring.append(ring)
    with pytest.raises(CheckpointError, match="within itself"):
        through_file(ring)


def test_equal_states_give_equal_bytes() -> None:
    write_checkpoint(FILE, small())
    write_checkpoint("b.pt", small())
    write_checkpoint("c.pt", read_checkpoint(FILE))
    assert FILE.read_bytes() == Path("b.pt").read_bytes() == Path("c.pt").read_bytes()
    weight = torch.arange(6.0).reshape(3, 2).t().contiguous().t()
    through_file(weight)
    strided = FILE.read_bytes()
    through_file(weight.contiguous())
    assert not weight.is_contiguous() and FILE.read_bytes() == strided


def test_truncation_at_every_byte() -> None:
    write_checkpoint(FILE, small())
    whole = FILE.read_bytes()
    cut = Path("cut.pt")
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        kind = CheckpointTruncatedError if length == 0 or length >= 43 else CheckpointCorruptError
        with pytest.raises(kind, match=r"cut\.pt"):
            read_checkpoint(cut)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_are_always_noticed(data: Any) -> None:
    write_checkpoint(FILE, small())
    content = bytearray(FILE.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if content == FILE.read_bytes():
        return
    changed = Path("changed.pt")
    changed.write_bytes(bytes(content))
    with pytest.raises(CheckpointCorruptError):
        read_checkpoint(changed)


def test_damage_is_located() -> None:
    weight = torch.full((1000,), 7.0)
    write_checkpoint(
        FILE, Checkpoint({}, {"part": {"role": "run", "class": "A", "state": {"w": weight, "v": weight + 1}}})
    )
    content = bytearray(FILE.read_bytes())
    content[content.index(np.float32(8.0).tobytes() * 9) + 20] ^= 1
    FILE.write_bytes(bytes(content))
    with pytest.raises(
        CheckpointCorruptError, match=r"'a\.pt' is damaged: the SHA-256 of parts\.part\.state\.v differs"
    ):
        read_checkpoint(FILE)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_garbage(content: bytes) -> None:
    FILE.write_bytes(content)
    with pytest.raises(CheckpointCorruptError):
        read_checkpoint(FILE)


def forge(document: Any, tensors: Sequence[bytes] = (), version: int = FORMAT_VERSION) -> Path:
    """Write a file whose digests are right, whatever it says."""
    blobs = [Blob("", "uint8", (len(content),), np.frombuffer(content, np.uint8)) for content in tensors]
    text = document if isinstance(document, bytes) else json.dumps(document).encode("ascii")
    tail = "AquaML checkpoint {}, metadata {} bytes, SHA-256 ".format(version, len(text))
    with open(str(FILE), "wb") as file:
        write_archive(file.write, text, blobs, tail)
    return FILE


EIGHT = b"12345678"


def header(**changes: Any) -> Dict[str, Any]:
    """An empty checkpoint's metadata with some entries changed."""
    document = {"format": "AquaML checkpoint 2", "metadata": {}, "parts": {}, "tensors": []}
    document.update(changes)
    return document


def with_tensor(tag: str = "tensor", index: Any = 0, **changes: Any) -> Dict[str, Any]:
    """Metadata with the eight bytes as a tensor."""
    entry = {"place": "a", "dtype": "float32", "shape": [2], "sha256": hashlib.sha256(EIGHT).hexdigest()}
    entry.update(changes)
    return header(metadata={"a": {"$": tag, "index": index}}, tensors=[entry])


def metadata(value: Any) -> Dict[str, Any]:
    return header(metadata={"a": value})


def test_forged_files_are_read_where_they_are_sound() -> None:
    assert read_checkpoint(forge(header())).parts == {}
    read = read_checkpoint(forge(with_tensor(), [EIGHT])).metadata["a"]
    assert same(read, torch.from_numpy(np.frombuffer(EIGHT, "<f4").copy()))


@pytest.mark.parametrize(
    "document",
    [
        [1],
        b"nonsense",
        b"[" * 100000,
        b'{"a":1,' * 500000,
        b"\xff",
        json.dumps(header()).encode("ascii") + b" {}",
        b'{"format": "AquaML checkpoint 2", "metadata": {}, "metadata": {}, "parts": {}, "tensors": []}',
        header(format="other"),
        header(more=1),
        header(parts=[]),
        header(metadata=3),
        header(tensors={}),
        header(parts={"a": 1}),
        header(parts={"a": {"role": "run", "class": "A"}}),
        header(parts={"a": {"role": ["run"], "class": "A", "state": {}}}),
        header(parts={"a": {"role": "run", "class": 1, "state": {}}}),
        header(parts={"a": {"role": "run", "class": "A", "state": {}, "more": 1}}),
        header(parts={"$": "dict", "items": [[1, {"role": "run", "class": "A", "state": {}}]]}),
        metadata({"$": "code", "value": "x"}),
        metadata({"$": "float", "value": "x"}),
        metadata({"$": "float", "value": "1.5"}),
        metadata({"$": "float", "value": "nan", "more": 1}),
        metadata({"$": "int", "value": "0x_1"}),
        metadata({"$": "int", "value": "0x" + "f" * 5000}),
        metadata({"$": "int", "value": 5}),
        metadata({"$": "tuple", "items": "ab"}),
        metadata({"$": "dict", "items": [[[1], 2]]}),
        metadata({"$": "dict", "items": [[1, 2], [1, 3]]}),
        metadata({"$": ["tuple"], "items": []}),
        metadata({"$": "tuple"}),
        b'{"format": "AquaML checkpoint 2", "metadata": {"a": NaN}, "parts": {}, "tensors": []}',
        b'{"format": "AquaML checkpoint 2", "metadata": {"a": 1e999}, "parts": {}, "tensors": []}',
        b'{"format": "AquaML checkpoint 2", "metadata": {"a": 9223372036854775808}, "parts": {}, "tensors": []}',
        b'{"format": "AquaML checkpoint 2", "metadata": {"a": ' + b"9" * 9999 + b'}, "parts": {}, "tensors": []}',
        with_tensor(index=1),
        with_tensor(index=-1),
        with_tensor(index=True),
        with_tensor(index="0"),
        with_tensor(tag="array", dtype="bfloat16", shape=[4]),
        with_tensor(dtype="uint16", shape=[4]),
        with_tensor(dtype="object", shape=[1]),
        with_tensor(dtype="bool", shape=[8]),
        with_tensor(dtype=["float32"]),
        with_tensor(shape=[3]),
        with_tensor(shape=[1]),
        with_tensor(shape=[2.0]),
        with_tensor(shape="2"),
        with_tensor(shape={"2": 1}),
        with_tensor(shape={}, dtype="float64"),
        with_tensor(shape=[-2]),
        with_tensor(shape=[2**62, 2**62]),
        with_tensor(shape=[2**62] * 10000),
        with_tensor(shape=[1] * 40 + [2]),
        with_tensor(sha256="0" * 64),
        with_tensor(more=1),
        header(
            metadata={"a": {"$": "tensor", "index": 0}, "b": {"$": "tensor", "index": 0}},
            tensors=with_tensor()["tensors"],
        ),
        header(tensors=with_tensor()["tensors"]),
        header(metadata=with_tensor()["metadata"]),
    ],
    ids=lambda document: str(document)[:90],
)
def test_sound_digests_with_wrong_content(document: Any) -> None:
    with pytest.raises(CheckpointCorruptError) as caught:
        lists_one = b'"tensors": [{' in (
            document if isinstance(document, bytes) else json.dumps(document).encode("ascii")
        )
        read_checkpoint(forge(document, [EIGHT] if lists_one else []))
    assert len(str(caught.value)) < 500


def replaced(content: bytes, old: bytes, new: bytes) -> None:
    """Change bytes of a file and write the right digest behind them."""
    assert old in content
    FILE.write_bytes(redigest(content.replace(old, new, 1)))


def test_the_zip_must_be_as_it_is_written() -> None:
    content = forge(with_tensor(), [EIGHT]).read_bytes()
    name, entry = b"tensors/000000.bin", content.index(b"PK\x01\x02")
    flags, method, end = content[entry + 8 : entry + 10], content[entry + 10 : entry + 12], b"PK\x05\x06\0\0\0\0\2\0"
    for old, new in [
        (name, b"../../../../x.bin_"),
        (content[entry : entry + 12], content[entry : entry + 8] + b"\1\0" + method),  # encrypted
        (content[entry : entry + 12], content[entry : entry + 8] + flags + b"\x08\0"),  # compressed
        (content[:8], content[:6] + b"\1\0"),
        (content[:10], content[:8] + b"\x08\0"),
        (EIGHT, EIGHT + b"more"),
        (end, b"PK\x05\x06\0\0\0\0\3\0"),
        (content[entry:], b"between the members and the directory" + content[entry:]),
        (content[content.index(end) :], b"before the end" + content[content.index(end) :]),
    ]:
        replaced(content, old, new)
        with pytest.raises(CheckpointCorruptError, match="structure or metadata are none"):
            read_checkpoint(FILE)
    directory = content[entry:].replace(name, b"/absolute/name/bin")
    replaced(content, content[entry:], directory)
    with pytest.raises(CheckpointCorruptError, match="directory does not list 'tensors/000000.bin'"):
        read_checkpoint(FILE)
    replaced(content, b"PK", b"PK")
    assert read_checkpoint(FILE).metadata["a"].shape == (2,)


def first_version() -> None:
    document = {"format": "AquaML checkpoint", "format_version": 1, "metadata": {}, "parts": {}}
    with zipfile.ZipFile(str(FILE), "w") as file:
        file.writestr("metadata.json", json.dumps(document))


def test_other_versions() -> None:
    forge({"format": "AquaML checkpoint 3", "of": "another form"}, version=FORMAT_VERSION + 1)
    with pytest.raises(CheckpointVersionError, match="format version 3; this AquaML reads version 2. Update AquaML"):
        read_checkpoint(FILE)
    with pytest.raises(CheckpointVersionError):
        read_metadata(FILE)
    content = FILE.read_bytes()
    FILE.write_bytes(content.replace(b"checkpoint 3, meta", b"checkpoint 4, meta"))
    with pytest.raises(CheckpointCorruptError, match="is damaged"):
        read_checkpoint(FILE)
    first_version()
    with pytest.raises(CheckpointVersionError, match="format version 1; .* Load it with the AquaML that wrote it"):
        read_checkpoint(FILE)


def test_torch_file_folder_missing_file_and_impossible_name() -> None:
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
    with pytest.raises(CheckpointError, match="null"):
        read_checkpoint("a\0b")
    with pytest.raises(CheckpointWriteError, match="null"):
        write_checkpoint("a\0b", small())
    Path("empty.pt").write_bytes(b"")
    with pytest.raises(CheckpointTruncatedError):
        read_checkpoint("empty.pt")


def test_reading_imports_and_runs_nothing() -> None:
    """A file is data: even one that names modules and classes brings no module in and calls nothing."""
    document = header(
        metadata={"class": "antigravity.Thing", "callable": "os.system", "$id": "builtins.eval"},
        parts={"a": {"role": "run", "class": "antigravity.Thing", "state": {"__reduce__": ["os.mkdir", ["made"]]}}},
    )
    forge(document)
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
        assert file.testzip() is None
        document = json.loads(file.read("metadata.json").decode("ascii"))
        index = document["parts"]["part"]["state"]["weight"]["index"]
        entry, content = document["tensors"][index], file.read("tensors/{:06d}.bin".format(index))
        assert entry["place"] == "parts.part.state.weight"
        assert entry["dtype"] == "float32" and entry["shape"] == [2, 3]
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert np.frombuffer(content, "<f4").tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    whole = covered = FILE.read_bytes()
    with zipfile.ZipFile(str(FILE)) as file:
        for info in reversed(file.infolist()[1:]):
            start = info.header_offset + 30 + len(info.filename) + 20
            covered = covered[:start] + covered[start + info.file_size :]
    assert whole.endswith(hashlib.sha256(covered[:-64]).hexdigest().encode("ascii"))
    assert b"AquaML checkpoint 2, metadata " in whole[-160:]


@pytest.mark.skipif(
    os.environ.get("AQUAML_LARGE_FILES") is None, reason="takes 5 GiB; set AQUAML_LARGE_FILES to run it"
)
def test_members_beyond_four_gibibytes() -> None:
    large = torch.zeros(5 * 2**28, dtype=torch.float32)
    large[-1] = 3.0
    read = through_file({"large": large, "after": torch.ones(2)})
    assert torch.equal(read["large"], large) and read["after"].tolist() == [1.0, 1.0]
