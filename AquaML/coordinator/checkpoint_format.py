"""The checkpoint file: a standard zip with ``metadata.json`` and one raw little-endian member per tensor.

Nothing in it is code, nothing is pickled, and any zip tool opens it; AquaML's own reader is stricter, see
``checkpoint_archive.py``. The last bytes, the zip's comment, name the format, its version and the SHA-256 of everything
before but the tensors; the metadata hold the SHA-256 of each tensor. The layout is described in
``Doc/architecture.md``.
"""

import dataclasses
import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, NamedTuple, Sequence, Tuple, Union

import numpy as np

from AquaML.coordinator.checkpoint_archive import (
    DIGEST_LENGTH,
    FORMAT_NAME,
    FORMAT_TEXT,
    FORMAT_VERSION,
    LOCAL_SIGNATURE,
    METADATA_MEMBER,
    MOST_TENSORS,
    CheckpointArchive,
    TensorDigestError,
    excess,
    write_archive,
)
from AquaML.coordinator.file_operations import FileOperations, make_folders, replace_file, room_and_need
from AquaML.coordinator.state_codec import Blob, decode, encode
from AquaML.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointNotFoundError,
    CheckpointTruncatedError,
    CheckpointVersionError,
    CheckpointWriteError,
    StateError,
)
from AquaML.stateful import Part

__all__ = ["FORMAT_VERSION", "Checkpoint", "read_checkpoint", "read_metadata", "write_checkpoint"]

_TAIL = FORMAT_NAME + " {}, metadata {} bytes, SHA-256 "
_TAIL_PATTERN = re.compile(
    FORMAT_NAME.encode("ascii") + rb" ([0-9]{1,9}), metadata ([0-9]{1,12}) bytes, SHA-256 ([0-9a-f]{64})\Z"
)
_LONGEST_TAIL = 160
_FIRST_VERSION = re.compile(rb'"format_version": *1[,}]')
"""What stands near the beginning of a file of format version 1, which had no end of its own."""
_HEAD = 256


@dataclasses.dataclass
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        metadata: Plain JSON values: kind, class names, configuration, counters, spaces.
        parts: Part name to ``{"role", "class", "state"}``; tensors are on the CPU.
        beside: Large parts, whose states a :class:`~AquaML.coordinator.checkpoint_store.CheckpointStore` writes into a
            file of their own; of a file that was read they are among the parts.
    """

    metadata: Dict[str, Any]
    parts: Dict[str, Dict[str, Any]]
    beside: Sequence[Part] = ()


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
        tail = _TAIL.format(FORMAT_VERSION, len(document))
    except StateError as error:
        raise CheckpointError("Cannot save '{}': {}".format(target, error)) from error
    operations = operations or FileOperations()
    try:
        if target.is_dir():
            raise CheckpointWriteError("Cannot save '{}': it is a folder; give a file name.".format(target))
        make_folders(target.parent, operations)
        replace_file(target, lambda write: write_archive(write, document, blobs, tail), operations)
    except ValueError as error:  # A name with a null byte.
        raise CheckpointWriteError("Cannot save '{}': {}.".format(target, error)) from error
    except OSError as error:
        needed = len(document) + sum(blob.data.nbytes for blob in blobs)
        room = room_and_need(error, target.parent, needed)
        raise CheckpointWriteError("Cannot save '{}': {}{}.".format(target, error, room)) from error
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
    values = {"format": FORMAT_TEXT, "metadata": metadata, "parts": parts, "tensors": tensors}
    text = json.dumps(values, allow_nan=False).encode("ascii")
    problem = excess(np.frombuffer(text, np.uint8)) or (
        "{} tensors".format(len(blobs)) if len(blobs) > MOST_TENSORS else ""
    )
    if problem:
        raise StateError(
            "the state has {}, more than a checkpoint may hold; keep many values in few tensors.".format(problem)
        )
    return text, blobs


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
    """Read only the metadata, without the tensors; damage of tensors is not noticed.

    Raises:
        CheckpointError: As :func:`read_checkpoint`.
    """
    return _open(path, _read_metadata)


def _open(path: Union[str, Path], read: Callable[[BinaryIO, int, Path], Any]) -> Any:
    source = Path(path)
    try:
        size = _size_of(source)
        with open(str(source), "rb") as file:
            return read(file, size, source)
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointNotFoundError("There is no checkpoint file '{}'.".format(source)) from None
    except (OSError, ValueError) as error:  # A name with a null byte is a ValueError.
        raise CheckpointError("Cannot read '{}': {}".format(source, error)) from error


def _size_of(source: Path) -> int:
    status = os.stat(str(source))
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointNotFoundError("'{}' is a folder; give the checkpoint file in it.".format(source))
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointCorruptError("'{}' is a device or pipe, no file.".format(source))
    return status.st_size


def _read_whole(file: BinaryIO, size: int, source: Path) -> Checkpoint:
    tail = _read_tail(file, size, source)
    archive = _open_archive(file, tail, source)
    try:
        document = archive.document
        checkpoint = Checkpoint(decode(document["metadata"], archive.take), decode(document["parts"], archive.take))
        archive.require_complete()
        _check_parts(checkpoint)
    except TensorDigestError as error:
        raise CheckpointCorruptError(
            "'{}' is damaged: the SHA-256 of {} differs from the one that was written.".format(
                source, _damaged_places(archive)
            )
        ) from error
    except Exception as error:  # A forged file can fail in any way while it is decoded.
        raise CheckpointCorruptError(
            "'{}' has a sound digest but no sound content, so AquaML did not write it ({}).".format(
                source, _reason(error)
            )
        ) from error
    return checkpoint


def _open_archive(file: BinaryIO, tail: _Tail, source: Path) -> CheckpointArchive:
    """Read structure and metadata, which account for every byte, and compare their digest.

    The digests of tensors stand in the metadata; they are compared when a tensor is read.
    """
    try:
        archive = CheckpointArchive(file, tail.digested, tail.metadata_size)
        if archive.digest() != tail.digest:
            raise ValueError("its SHA-256 differs from the one written at its end")
        return archive
    except Exception as error:  # A damaged or forged file can fail in any way while it is read.
        raise CheckpointCorruptError(
            "'{}' is damaged: its structure or metadata are none of a checkpoint ({}).".format(source, _reason(error))
        ) from error


def _read_metadata(file: BinaryIO, size: int, source: Path) -> Dict[str, Any]:
    archive = _open_archive(file, _read_tail(file, size, source), source)
    try:
        metadata = decode(archive.document["metadata"], archive.take)
        if not isinstance(metadata, dict):
            raise ValueError("the metadata are no dictionary")
    except Exception as error:  # As above.
        raise CheckpointCorruptError("'{}' is damaged ({}).".format(source, _reason(error))) from error
    return metadata


def _reason(error: Exception) -> str:
    return "{}: {}".format(type(error).__name__, str(error)[:200])


def _read_tail(file: BinaryIO, size: int, source: Path) -> _Tail:
    file.seek(max(0, size - _LONGEST_TAIL))
    match = _TAIL_PATTERN.search(file.read(_LONGEST_TAIL))
    if match is None:
        raise _without_tail(file, size, source)
    version = int(match.group(1))
    if version != FORMAT_VERSION:
        file.seek(0)
        # Beginning and end of a file agree on its version: a damaged number is no other version.
        if '"{} {}"'.format(FORMAT_NAME, version).encode("ascii") not in file.read(_HEAD):
            raise CheckpointCorruptError("'{}' is damaged: its end tells another version.".format(source))
        raise _other_version(version, source)
    return _Tail(int(match.group(2)), match.group(3).decode("ascii"), size - DIGEST_LENGTH)


def _without_tail(file: BinaryIO, size: int, source: Path) -> CheckpointError:
    """Return the error for a file that does not end as a checkpoint does."""
    file.seek(0)
    head = file.read(_HEAD)
    if size and not (head.startswith(LOCAL_SIGNATURE[: len(head)]) and METADATA_MEMBER.encode("ascii") in head):
        return CheckpointCorruptError(
            "'{}' is no AquaML checkpoint, or its beginning and end are damaged. Foreign torch files are read by "
            "agent.import_torch_weights().".format(source)
        )
    if _FIRST_VERSION.search(head):
        return _other_version(1, source)
    return CheckpointTruncatedError(
        "'{}' is cut off or its end is damaged: it lacks the end that every AquaML checkpoint has, after {} bytes. "
        "Take an older checkpoint.".format(source, size)
    )


def _other_version(version: int, source: Path) -> CheckpointVersionError:
    return CheckpointVersionError(
        "'{}' has format version {}; this AquaML reads version {}. {}".format(
            source,
            version,
            FORMAT_VERSION,
            "Update AquaML." if version > FORMAT_VERSION else "Load it with the AquaML that wrote it.",
        )
    )


def _damaged_places(archive: CheckpointArchive) -> str:
    places = archive.damaged()
    return ", ".join(places[:5]) + (" and {} more".format(len(places) - 5) if len(places) > 5 else "")


def _check_parts(checkpoint: Checkpoint) -> None:
    if not isinstance(checkpoint.metadata, dict) or not isinstance(checkpoint.parts, dict):
        raise ValueError("metadata and parts are no dictionaries")
    for name, part in checkpoint.parts.items():
        if not isinstance(name, str) or not isinstance(part, dict) or set(part) != {"role", "class", "state"}:
            raise ValueError("part {!r} has other entries than role, class and state".format(name))
        if not isinstance(part["role"], str) or not isinstance(part["class"], str):
            raise ValueError("role or class of part {!r} is no string".format(name))
