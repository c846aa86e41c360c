"""The checkpoint file: a standard zip with ``metadata.json`` and one raw little-endian member per tensor.

Nothing in it is code, nothing is pickled, and any zip tool opens it. AquaML's own reader is stricter than a zip tool:
it takes the members in the order in which they are written, none twice, none compressed, and nothing after the end.
The last bytes, the zip's comment, name the format, its version and the SHA-256 of everything before; the metadata hold
the SHA-256 of each tensor. The layout is described in ``Doc/architecture.md``.
"""

import dataclasses
import hashlib
import json
import os
import re
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, NamedTuple, NoReturn, Tuple, Union

import numpy as np

from AquaML.coordinator.file_operations import Data, FileOperations, replace_file
from AquaML.coordinator.state_codec import Blob, decode, encode, stored_size
from AquaML.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointNotFoundError,
    CheckpointTruncatedError,
    CheckpointVersionError,
    CheckpointWriteError,
    StateError,
)

FORMAT_NAME = "AquaML checkpoint"
FORMAT_VERSION = 2
METADATA_MEMBER = "metadata.json"

LARGEST_METADATA = 64 * 2**20
"""Bytes of ``metadata.json`` at most; big values belong in tensors and arrays."""
MOST_VALUES = 500_000
"""Values in ``metadata.json`` at most: what bounds the memory that reading takes."""
MOST_TENSORS = 50_000
DEEPEST_NESTING = 128

_TAIL = FORMAT_NAME + " {}, metadata {} bytes, SHA-256 "
_TAIL_PATTERN = re.compile(
    FORMAT_NAME.encode("ascii") + rb" ([0-9]{1,9}), metadata ([0-9]{1,12}) bytes, SHA-256 ([0-9a-f]{64})\Z"
)
_DIGEST_LENGTH = 64
_LONGEST_TAIL = 160
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_DESCRIPTOR = struct.Struct("<4sLQQ")
_PIECE = 2**20


@dataclasses.dataclass
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        metadata: Plain JSON values: kind, class names, configuration, counters, spaces.
        parts: Part name to ``{"role", "class", "state"}``; tensors are on the CPU.
    """

    metadata: Dict[str, Any]
    parts: Dict[str, Dict[str, Any]]


# ---------------------------------------------------------------------- writing


def write_checkpoint(
    path: Union[str, Path], checkpoint: Checkpoint, operations: Union[FileOperations, None] = None
) -> Path:
    """Write a checkpoint so that the path holds either the old file or the whole new one, never a part.

    Args:
        path: The target; its suffix is free and missing parent folders are made.
        checkpoint: What to write.
        operations: How files are touched; None: as usual.

    Returns:
        The path.

    Raises:
        CheckpointError: A value is of a kind that a checkpoint cannot hold.
        CheckpointWriteError: The file cannot be written. A file already at ``path`` is unchanged.
    """
    target = Path(path)
    try:
        document, blobs = _document(checkpoint)
    except StateError as error:
        raise CheckpointError("Cannot save '{}': {}".format(target, error)) from error
    if target.is_dir():
        raise CheckpointWriteError("Cannot save '{}': it is a folder; give a file name.".format(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, lambda write: _write_archive(write, document, blobs), operations or FileOperations())
    except OSError as error:
        raise CheckpointWriteError("Cannot save '{}': {}".format(target, error)) from error
    return target


def _document(checkpoint: Checkpoint) -> Tuple[bytes, List[Blob]]:
    blobs: List[Blob] = []
    parts = encode(checkpoint.parts, "parts", blobs)
    metadata = encode(checkpoint.metadata, "metadata", blobs)
    tensors = [
        {
            "place": blob.place,
            "dtype": blob.dtype,
            "shape": list(blob.shape),
            "sha256": hashlib.sha256(blob.data.data).hexdigest(),
        }
        for blob in blobs
    ]
    values = {"format": FORMAT_NAME, "metadata": metadata, "parts": parts, "tensors": tensors}
    text = json.dumps(values, allow_nan=False).encode("ascii")
    problem = _excess(text) or ("{} tensors".format(len(blobs)) if len(blobs) > MOST_TENSORS else "")
    if problem:
        raise StateError(
            "the state has {}, more than a checkpoint may hold; keep many values in few tensors.".format(problem)
        )
    return text, blobs


def _write_archive(write: Callable[[Data], None], document: bytes, blobs: List[Blob]) -> None:
    sink = _DigestedStream(write)
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[call-overload]
        _write_member(archive, METADATA_MEMBER, document)
        for index, blob in enumerate(blobs):
            _write_member(archive, _member_name(index), blob.data.data)
        archive.comment = _TAIL.format(FORMAT_VERSION, len(document)).encode("ascii") + b"0" * _DIGEST_LENGTH
    sink.finish()


def _write_member(archive: zipfile.ZipFile, name: str, data: Data) -> None:
    # A fixed date: equal states give equal files.
    with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
        member.write(data)


def _member_name(index: int) -> str:
    return "tensors/{:06d}.bin".format(index)


class _DigestedStream:
    """What the zip is written to: passes bytes on, and in place of the last 64 their SHA-256.

    It cannot be sought in, so that the zip is written from front to back, in one go.
    """

    def __init__(self, write: Callable[[Data], None]) -> None:
        self._write = write
        self._digest = hashlib.sha256()
        self._held = b""

    def write(self, data: Data) -> int:
        """Pass on all but the last 64 bytes of what has come so far."""
        view = memoryview(data)
        length = len(view)
        if length < _DIGEST_LENGTH:
            held = self._held + bytes(view)
            self._emit(held[:-_DIGEST_LENGTH])
            self._held = held[-_DIGEST_LENGTH:]
        else:
            self._emit(self._held)
            self._emit(view[:-_DIGEST_LENGTH])
            self._held = bytes(view[-_DIGEST_LENGTH:])
        return length

    def _emit(self, data: Data) -> None:
        if len(data):
            self._digest.update(data)
            self._write(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def finish(self) -> None:
        """Write the digest in place of the bytes held back."""
        self._write(self._digest.hexdigest().encode("ascii"))


# ---------------------------------------------------------------------- reading


class _Tail(NamedTuple):
    metadata_size: int
    digest: str
    digested: int


def read_checkpoint(path: Union[str, Path]) -> Checkpoint:
    """Read a checkpoint; tensors come to the CPU.

    Every byte is compared with the digests before it is used, and memory is bounded by the size of the file.

    Raises:
        CheckpointNotFoundError: There is no such file.
        CheckpointTruncatedError: The file has lost its end.
        CheckpointCorruptError: The file is damaged, or no AquaML checkpoint.
        CheckpointVersionError: A newer AquaML wrote it.
    """
    return _open(path, _read_whole)


def read_metadata(path: Union[str, Path]) -> Dict[str, Any]:
    """Read only the metadata, without the tensors and without comparing the digest of the whole file.

    Raises:
        CheckpointError: As :func:`read_checkpoint`.
    """
    return _open(path, _read_metadata)


def _open(path: Union[str, Path], read: Callable[[BinaryIO, int, Path], Any]) -> Any:
    source = Path(path)
    try:
        status = os.stat(str(source))
        if stat.S_ISDIR(status.st_mode):
            raise CheckpointNotFoundError("'{}' is a folder; give the checkpoint file in it.".format(source))
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointCorruptError("'{}' is a device or pipe, no file.".format(source))
        with open(str(source), "rb") as file:
            return read(file, status.st_size, source)
    except FileNotFoundError:
        raise CheckpointNotFoundError("There is no checkpoint file '{}'.".format(source)) from None
    except OSError as error:
        raise CheckpointError("Cannot read '{}': {}".format(source, error)) from error


def _read_whole(file: BinaryIO, size: int, source: Path) -> Checkpoint:
    tail = _read_tail(file, size, source)
    if _digest_of(file, tail.digested) != tail.digest:
        _blame(file, tail, source)
    try:
        archive = _Archive(file, tail)
        document = archive.document
        checkpoint = Checkpoint(decode(document["metadata"], archive.take), decode(document["parts"], archive.take))
        archive.require_complete()
        _check_parts(checkpoint)
    except Exception as error:  # A forged file can fail in any way while it is decoded.
        raise CheckpointCorruptError(
            "'{}' has a sound digest but no sound content ({}: {}).".format(source, type(error).__name__, error)
        ) from error
    return checkpoint


def _read_metadata(file: BinaryIO, size: int, source: Path) -> Dict[str, Any]:
    tail = _read_tail(file, size, source)
    try:
        archive = _Archive(file, tail)
        metadata = decode(archive.document["metadata"], archive.take)
        if not isinstance(metadata, dict):
            raise ValueError("the metadata are no dictionary")
    except Exception as error:  # As above.
        raise CheckpointCorruptError("'{}' is damaged ({}: {}).".format(source, type(error).__name__, error)) from error
    return metadata


def _read_tail(file: BinaryIO, size: int, source: Path) -> _Tail:
    head = file.read(64)
    file.seek(max(0, size - _LONGEST_TAIL))
    match = _TAIL_PATTERN.search(file.read(_LONGEST_TAIL))
    if match is None:
        if not size or (head.startswith(_LOCAL_SIGNATURE) and METADATA_MEMBER.encode("ascii") in head):
            raise CheckpointTruncatedError(
                "'{}' is cut off: its {} bytes lack the end that every AquaML checkpoint has.".format(source, size)
            )
        raise CheckpointCorruptError(
            "'{}' is no AquaML checkpoint, or its end is damaged. Foreign torch files are read by "
            "agent.import_torch_weights().".format(source)
        )
    version, metadata_size, digest = int(match.group(1)), int(match.group(2)), match.group(3).decode("ascii")
    if version != FORMAT_VERSION:
        raise CheckpointVersionError(
            "'{}' has format version {}; this AquaML reads version {}. {}".format(
                source,
                version,
                FORMAT_VERSION,
                "Update AquaML." if version > FORMAT_VERSION else "Read it with the AquaML that wrote it.",
            )
        )
    return _Tail(metadata_size, digest, size - _DIGEST_LENGTH)


def _digest_of(file: BinaryIO, length: int) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0:
        piece = file.read(min(_PIECE, length))
        if not piece:
            break
        digest.update(piece)
        length -= len(piece)
    return digest.hexdigest()


class _Archive:
    """The members of a checkpoint in the order in which they are written.

    Args:
        file: The open file.
        tail: What its end says.

    Raises:
        ValueError: The structure is not that of a checkpoint; other builtin errors likewise.
    """

    def __init__(self, file: BinaryIO, tail: _Tail) -> None:
        self._file = file
        self._end = tail.digested
        if tail.metadata_size > LARGEST_METADATA:
            raise ValueError("{} bytes of metadata".format(tail.metadata_size))
        start = self._data_start(0, METADATA_MEMBER)
        text = self._read(start, tail.metadata_size).tobytes()
        self.document = _parse(text)
        self._members = self._locate(start + tail.metadata_size)
        self._taken = [False] * len(self._members)

    def _locate(self, position: int) -> List[Tuple[int, Dict[str, Any], int]]:
        members = []
        for index, entry in enumerate(self.document["tensors"]):
            start = self._data_start(position + _DESCRIPTOR.size, _member_name(index))
            size = stored_size(entry["dtype"], tuple(entry["shape"]))
            position = start + size
            if position > self._end:
                raise ValueError("{} is longer than the file".format(entry["place"]))
            members.append((start, entry, size))
        return members

    def _data_start(self, position: int, name: str) -> int:
        """Check the header at a position and return where the data after it begin."""
        fields = _LOCAL_HEADER.unpack(self._read(position, _LOCAL_HEADER.size).tobytes())
        signature, method, name_length, extra_length = fields[0], fields[3], fields[9], fields[10]
        start = position + _LOCAL_HEADER.size
        found = self._read(start, name_length).tobytes()
        if signature != _LOCAL_SIGNATURE or method != zipfile.ZIP_STORED or found != name.encode("ascii"):
            raise ValueError("at byte {} there is no plain member '{}'".format(position, name))
        return start + name_length + extra_length

    def _read(self, start: int, size: int) -> np.ndarray:
        if start + size > self._end:
            raise ValueError("byte {} lies behind the end".format(start + size))
        data = np.empty(size, np.uint8)
        self._file.seek(start)
        if self._file.readinto(data.data) != size:  # type: ignore[attr-defined]
            raise ValueError("the file ends before byte {}".format(start + size))
        return data

    def take(self, index: int) -> Blob:
        """Read one tensor's bytes and compare their digest."""
        start, entry, size = self._members[index]
        if type(index) is not int or index < 0 or self._taken[index]:
            raise ValueError("tensor {} is used twice".format(index))
        self._taken[index] = True
        data = self._read(start, size)
        if hashlib.sha256(data.data).hexdigest() != entry["sha256"]:
            raise ValueError("{} has another SHA-256 than the metadata say".format(entry["place"]))
        return Blob(str(entry["place"]), entry["dtype"], tuple(entry["shape"]), data)

    def require_complete(self) -> None:
        """Check that every tensor was used."""
        if not all(self._taken):
            raise ValueError("tensor {} belongs to nothing".format(self._taken.index(False)))

    def damaged(self) -> List[str]:
        """Return the places of all tensors whose digest differs."""
        return [
            str(entry["place"])
            for start, entry, size in self._members
            if hashlib.sha256(self._read(start, size).data).hexdigest() != entry["sha256"]
        ]


def _blame(file: BinaryIO, tail: _Tail, source: Path) -> NoReturn:
    """Raise an error that says where a file is damaged, as far as that can be told."""
    try:
        places = _Archive(file, tail).damaged()
    except Exception:  # The structure itself is damaged; there is no more to tell.
        places = []
    shown = ", ".join(places[:5]) + (" and {} more".format(len(places) - 5) if len(places) > 5 else "")
    raise CheckpointCorruptError(
        "'{}' is damaged: its SHA-256 differs from the one written at its end. The damage is in {}.".format(
            source, shown or "its structure or metadata"
        )
    )


def _check_parts(checkpoint: Checkpoint) -> None:
    if not isinstance(checkpoint.metadata, dict) or not isinstance(checkpoint.parts, dict):
        raise ValueError("metadata and parts are no dictionaries")
    for name, part in checkpoint.parts.items():
        if not isinstance(part, dict) or not {"role", "class", "state"} <= set(part):
            raise ValueError("part {!r} lacks its role, class or state".format(name))


# ---------------------------------------------------------------------- metadata


def _excess(text: bytes) -> str:
    """Return what is too much in metadata, looking only at their characters; empty if nothing is."""
    characters = np.frombuffer(text, np.uint8)
    opening = (characters == ord("[")) | (characters == ord("{"))
    closing = (characters == ord("]")) | (characters == ord("}"))
    values = int(opening.sum()) + int((characters == ord(",")).sum())
    if len(text) > LARGEST_METADATA:
        return "{} bytes of metadata".format(len(text))
    if values > MOST_VALUES:
        return "{} values outside of tensors".format(values)
    steps = opening.astype(np.int8) - closing.astype(np.int8)
    depth = int(np.cumsum(steps, dtype=np.int32).max()) if len(steps) else 0
    return "{} levels of nesting".format(depth) if depth > DEEPEST_NESTING else ""


def _parse(text: bytes) -> Dict[str, Any]:
    problem = _excess(text)
    if problem:
        raise ValueError(problem)
    document = json.loads(
        text.decode("ascii"), object_pairs_hook=_unique, parse_int=_integer, parse_constant=_refuse_constant
    )
    if not isinstance(document, dict) or document.get("format") != FORMAT_NAME:
        raise ValueError("the metadata do not name the format")
    if not isinstance(document.get("tensors"), list) or len(document["tensors"]) > MOST_TENSORS:
        raise ValueError("the metadata list no tensors, or too many")
    return document


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError("a number of {} digits".format(len(text)))
    return int(text)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError("{} is no JSON number".format(text))
