"""The checkpoint file: a standard zip with ``metadata.json`` and one raw little-endian member per tensor.

Nothing in it is code, nothing is pickled, and Python's ``zipfile`` and ``json`` are enough to read it anywhere. The
layout is described in ``Doc/architecture.md``.
"""

import dataclasses
import json
import math
import os
import uuid
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Union

import numpy as np
import torch

from AquaML.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointNotFoundError,
    CheckpointVersionError,
    StateError,
)

FORMAT_NAME = "AquaML checkpoint"
FORMAT_VERSION = 1
METADATA_MEMBER = "metadata.json"
_TAG = "$"

_TORCH_TYPES: Dict[str, torch.dtype] = {
    "bool": torch.bool,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
_NUMPY_TYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64") + (
    "float16",
    "float32",
    "float64",
)
_TORCH_NAMES = {dtype: name for name, dtype in _TORCH_TYPES.items()}


@dataclasses.dataclass
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        metadata: Plain JSON values: kind, class names, configuration, counters, spaces.
        parts: Part name to ``{"role", "class", "state"}``; tensors are on the CPU.
    """

    metadata: Dict[str, Any]
    parts: Dict[str, Dict[str, Any]]


def write_checkpoint(path: Union[str, Path], checkpoint: Checkpoint) -> Path:
    """Write a checkpoint so that the path holds either the old file or the whole new one, never a part.

    Args:
        path: The target; its suffix is free and missing parent folders are made.
        checkpoint: What to write.

    Returns:
        The path.

    Raises:
        CheckpointError: A value is of a kind that a checkpoint cannot hold, or the file cannot be written. A file
            already at ``path`` is unchanged.
    """
    target = Path(path)
    blobs: List[np.ndarray] = []
    try:
        parts = _encode(checkpoint.parts, "parts", blobs)
        document = {
            "format": FORMAT_NAME,
            "format_version": FORMAT_VERSION,
            "metadata": _encode(checkpoint.metadata, "metadata", blobs),
            "parts": parts,
        }
    except StateError as error:
        raise CheckpointError("Cannot save '{}': {}".format(target, error)) from error
    if target.is_dir():
        raise CheckpointError("Cannot save '{}': it is a folder; give a file name.".format(target))
    temporary = target.with_name(".{}.tmp".format(uuid.uuid4().hex))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_archive(temporary, document, blobs)
        os.replace(str(temporary), str(target))
    except OSError as error:
        raise CheckpointError("Cannot save '{}': {}".format(target, error)) from error
    finally:
        if temporary.exists():
            temporary.unlink()
    return target


def _write_archive(path: Path, document: Dict[str, Any], blobs: List[np.ndarray]) -> None:
    with open(str(path), "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            archive.writestr(METADATA_MEMBER, json.dumps(document, allow_nan=False))
            for index, blob in enumerate(blobs):
                with archive.open(_member_name(index), "w", force_zip64=True) as member:
                    member.write(blob.view(np.uint8).data if blob.size else b"")
        file.flush()
        os.fsync(file.fileno())


def _member_name(index: int) -> str:
    return "tensors/{:06d}.bin".format(index)


def read_checkpoint(path: Union[str, Path]) -> Checkpoint:
    """Read a checkpoint; tensors come to the CPU.

    Raises:
        CheckpointNotFoundError: There is no such file.
        CheckpointCorruptError: The file is damaged, truncated, or no AquaML checkpoint.
        CheckpointVersionError: A newer AquaML wrote it.
    """
    source = Path(path)
    if source.is_dir():
        raise CheckpointNotFoundError("'{}' is a folder; give the checkpoint file in it.".format(source))
    if not source.exists():
        raise CheckpointNotFoundError("There is no checkpoint file '{}'.".format(source))
    try:
        with open(str(source), "rb") as file:
            return _read_file(file, source)
    except OSError as error:
        raise CheckpointError("Cannot read '{}': {}".format(source, error)) from error


def _read_file(file: BinaryIO, source: Path) -> Checkpoint:
    try:
        return _read_archive(file, source)
    except CheckpointError:
        raise
    except Exception as error:  # A damaged file can fail in any way inside zipfile, json or numpy.
        raise CheckpointCorruptError(
            "'{}' is damaged or no AquaML checkpoint ({}: {}). Foreign torch files are read by "
            "agent.import_torch_weights().".format(source, type(error).__name__, error)
        ) from error


def _read_archive(file: BinaryIO, source: Path) -> Checkpoint:
    with zipfile.ZipFile(file) as archive:
        document = json.loads(archive.read(METADATA_MEMBER).decode("utf-8"))
        _check_header(document, source)
        checkpoint = Checkpoint(_decode(document["metadata"], archive), _decode(document["parts"], archive))
    if not isinstance(checkpoint.metadata, dict) or not isinstance(checkpoint.parts, dict):
        raise ValueError("metadata and parts are no dictionaries")
    for name, part in checkpoint.parts.items():
        if not isinstance(part, dict) or not {"role", "class", "state"} <= set(part):
            raise ValueError("part {!r} lacks its role, class or state".format(name))
    return checkpoint


def _check_header(document: Any, source: Path) -> None:
    if not isinstance(document, dict) or document.get("format") != FORMAT_NAME:
        raise ValueError("its metadata does not name the format")
    version = document.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise ValueError("format version {!r}".format(version))
    if version > FORMAT_VERSION:
        raise CheckpointVersionError(
            "'{}' has format version {}; this AquaML reads up to {}. Update AquaML.".format(
                source, version, FORMAT_VERSION
            )
        )


def _encode(value: Any, place: str, blobs: List[np.ndarray]) -> Any:
    """Turn a state into JSON values, appending tensors to ``blobs``."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        # Hexadecimal beyond 64 bits: other JSON readers round such numbers, and Python limits their decimal digits.
        return value if -(2**63) <= value < 2**63 else {_TAG: "int", "value": hex(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {_TAG: "float", "value": repr(float(value))}
    if isinstance(value, torch.Tensor):
        return _encode_tensor(value, place, blobs)
    if isinstance(value, np.ndarray):
        return _encode_array(value, "array", value.dtype.name, place, blobs)
    if isinstance(value, np.generic) and value.dtype.name in _NUMPY_TYPES:
        return _encode(value.item(), place, blobs)
    if isinstance(value, list):
        return [_encode(item, "{}[{}]".format(place, index), blobs) for index, item in enumerate(value)]
    if isinstance(value, tuple):
        return {_TAG: "tuple", "items": _encode(list(value), place, blobs)}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and _TAG not in value:
            return {key: _encode(item, "{}.{}".format(place, key), blobs) for key, item in value.items()}
        pairs = [
            [_encode(key, place, blobs), _encode(item, "{}.{}".format(place, key), blobs)]
            for key, item in value.items()
        ]
        return {_TAG: "dict", "items": pairs}
    raise StateError(
        "{} holds a {}; a checkpoint holds tensors, numpy arrays, numbers, strings, None, lists, tuples and "
        "dicts.".format(place, type(value).__name__)
    )


def _encode_tensor(tensor: torch.Tensor, place: str, blobs: List[np.ndarray]) -> Dict[str, Any]:
    if tensor.dtype not in _TORCH_NAMES:
        raise StateError("{} is a tensor of type {}, which a checkpoint cannot hold.".format(place, tensor.dtype))
    if tensor.layout != torch.strided:
        raise StateError("{} is a tensor of layout {}, save it as a dense one.".format(place, tensor.layout))
    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        plain = plain.view(torch.int16)
    return _encode_array(plain.numpy(), "tensor", _TORCH_NAMES[tensor.dtype], place, blobs)


def _encode_array(array: np.ndarray, kind: str, dtype: str, place: str, blobs: List[np.ndarray]) -> Dict[str, Any]:
    if array.dtype.name not in _NUMPY_TYPES:
        raise StateError("{} is an array of type {}, which a checkpoint cannot hold.".format(place, array.dtype))
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    blobs.append(np.ascontiguousarray(little).reshape(-1))
    return {_TAG: kind, "dtype": dtype, "shape": list(array.shape), "member": _member_name(len(blobs) - 1)}


def _decode(value: Any, archive: zipfile.ZipFile) -> Any:
    if isinstance(value, list):
        return [_decode(item, archive) for item in value]
    if not isinstance(value, dict):
        return value
    tag = value.get(_TAG)
    if tag is None:
        return {key: _decode(item, archive) for key, item in value.items()}
    if tag == "int":
        return int(value["value"], 16)
    if tag == "float":
        return float(value["value"])
    if tag == "tuple":
        return tuple(_decode(item, archive) for item in value["items"])
    if tag == "dict":
        return {_decode(key, archive): _decode(item, archive) for key, item in value["items"]}
    if tag in ("tensor", "array"):
        return _decode_array(value, archive, tag)
    raise ValueError("unknown tag {!r}".format(tag))


def _decode_array(entry: Dict[str, Any], archive: zipfile.ZipFile, kind: str) -> Any:
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    if dtype not in (_TORCH_TYPES if kind == "tensor" else _NUMPY_TYPES):
        raise ValueError("unknown type {!r}".format(dtype))
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError("shape {}".format(shape))
    stored = np.dtype("int16" if dtype == "bfloat16" else dtype).newbyteorder("<")
    size, expected = archive.getinfo(entry["member"]).file_size, stored.itemsize
    for length in shape:
        expected *= length
    if size != expected:
        raise ValueError("{} holds {} bytes for shape {} of {}".format(entry["member"], size, shape, dtype))
    raw = archive.read(entry["member"])
    array = np.frombuffer(raw, dtype=stored).reshape(shape).astype(stored.newbyteorder("="), copy=True)
    if kind == "array":
        return array
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor
