"""States as JSON values and raw little-endian arrays, and back; nothing is pickled and no name is looked up."""

import dataclasses
import math
from typing import Any, Callable, Dict, List, Tuple, Union

import numpy as np
import torch

from AquaML.errors import StateError

TAG = "$"
_ARRAYS = ("tensor", "array")
_LONGEST_INTEGER = 4096
"""Hexadecimal digits; longer numbers take Python too long to print."""
_MOST_DIMENSIONS = 32
"""Axes that every supported numpy takes."""
_LARGEST_ARRAY = 2**62
DEEPEST_NESTING = 128
"""Levels of lists, tuples and dicts in a state and in the metadata as they are written."""

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
class Blob:
    """The bytes of one tensor or array.

    Attributes:
        place: Where it is in the state, for people.
        dtype: Name of its type.
        shape: Its shape.
        data: Its little-endian bytes, ``uint8``.
    """

    place: str
    dtype: str
    shape: Tuple[int, ...]
    data: np.ndarray


Reader = Callable[[int], Blob]
"""Returns the blob of an index with writable bytes, once."""


def encode(value: Any, place: str, blobs: List[Blob], depth: int = 0) -> Any:
    """Turn a state into JSON values, appending tensors and arrays to ``blobs``.

    Raises:
        StateError: A value is of a kind that a checkpoint cannot hold; names its place.
    """
    if depth > DEEPEST_NESTING:
        raise StateError("{}... is nested deeper than {} levels, or within itself.".format(place[:80], DEEPEST_NESTING))
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else {TAG: "int", "value": _hexadecimal(value, place)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {TAG: "float", "value": repr(float(value))}
    if isinstance(value, torch.Tensor):
        return _encode_tensor(value, place, blobs)
    if isinstance(value, np.ndarray):
        return _encode_array(value, "array", value.dtype.name, place, blobs)
    if isinstance(value, np.generic) and value.dtype.name in _NUMPY_TYPES:
        return encode(value.item(), place, blobs)
    inner = depth + 1
    if isinstance(value, list):
        return [encode(item, "{}[{}]".format(place, index), blobs, inner) for index, item in enumerate(value)]
    if isinstance(value, tuple):
        return {TAG: "tuple", "items": encode(list(value), place, blobs, inner)}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and TAG not in value:
            return {key: encode(item, "{}.{}".format(place, key), blobs, inner) for key, item in value.items()}
        pairs = [
            [encode(key, place, blobs, inner), encode(item, "{}.{}".format(place, key), blobs, inner)]
            for key, item in value.items()
        ]
        return {TAG: "dict", "items": pairs}
    raise StateError(
        "{} holds a {}; a checkpoint holds tensors, numpy arrays, numbers, strings, None, lists, tuples and "
        "dicts.".format(place, type(value).__name__)
    )


def _hexadecimal(value: int, place: str) -> str:
    # Beyond 64 bits: other JSON readers round such numbers, and Python limits their decimal digits.
    text = hex(value)
    if len(text) > _LONGEST_INTEGER:
        raise StateError("{} is an integer of more than {} hexadecimal digits.".format(place, _LONGEST_INTEGER))
    return text


def _encode_tensor(tensor: torch.Tensor, place: str, blobs: List[Blob]) -> Dict[str, Any]:
    if tensor.dtype not in _TORCH_NAMES:
        raise StateError("{} is a tensor of type {}, which a checkpoint cannot hold.".format(place, tensor.dtype))
    if tensor.layout != torch.strided:
        raise StateError("{} is a tensor of layout {}, save it as a dense one.".format(place, tensor.layout))
    try:
        plain = tensor.detach().cpu().contiguous()
        array = (plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).numpy()
    except (RuntimeError, TypeError, ValueError) as error:  # A tensor without data, or of a special kind.
        raise StateError("{} is a tensor without plain data: {}".format(place, error)) from error
    return _encode_array(array, "tensor", _TORCH_NAMES[tensor.dtype], place, blobs)


def _encode_array(array: np.ndarray, kind: str, dtype: str, place: str, blobs: List[Blob]) -> Dict[str, Any]:
    if array.dtype.name not in _NUMPY_TYPES:
        raise StateError("{} is an array of type {}, which a checkpoint cannot hold.".format(place, array.dtype))
    if array.ndim > _MOST_DIMENSIONS:
        raise StateError("{} has {} axes, at most {} can be saved.".format(place, array.ndim, _MOST_DIMENSIONS))
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    blobs.append(Blob(place, dtype, array.shape, np.ascontiguousarray(little).reshape(-1).view(np.uint8)))
    return {TAG: kind, "index": len(blobs) - 1}


def decode(value: Any, read: Reader) -> Any:
    """Turn JSON values back into a state; ``value`` itself is used up, to save memory.

    Only what :func:`encode` writes is taken, so that a state has one form in a file.

    Raises:
        ValueError: A value is none that :func:`encode` writes; other builtin errors where its structure is wrong.
    """
    if isinstance(value, list):
        for index, item in enumerate(value):
            value[index] = decode(item, read)
        return value
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        for key, item in value.items():
            value[key] = decode(item, read)
        return value
    tag = value[TAG]
    field = "index" if tag in _ARRAYS else "items" if tag in ("tuple", "dict") else "value"
    if len(value) != 2:
        raise ValueError("a value tagged {!r} has {} fields".format(tag, len(value)))
    content = value[field]
    if tag in _ARRAYS:
        return _decode_array(tag, read(content))
    if tag == "tuple":
        return tuple(decode(_require(content, list), read))
    if tag == "dict":
        return _decode_pairs(_require(content, list), read)
    return _decode_number(tag, _require(content, str))


def _require(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError("{} where a {} belongs".format(type(value).__name__, kind.__name__))
    return value


def _decode_pairs(pairs: List[Any], read: Reader) -> Dict[Any, Any]:
    result = {decode(key, read): decode(item, read) for key, item in pairs}
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _decode_number(tag: str, text: str) -> Union[int, float]:
    if tag == "float" and text in ("nan", "inf", "-inf"):
        return float(text)
    if tag == "int" and len(text) <= _LONGEST_INTEGER:
        number = int(text, 16)
        if hex(number) == text:
            return number
    raise ValueError("unknown tag {!r} or no such number".format(tag))


def stored_size(dtype: str, shape: Tuple[int, ...]) -> int:
    """Return the number of bytes of an array.

    Raises:
        ValueError: Type or shape is none that a checkpoint holds.
    """
    if dtype not in _TORCH_TYPES and dtype not in _NUMPY_TYPES:
        raise ValueError("unknown type {!r}".format(dtype))
    if len(shape) > _MOST_DIMENSIONS or not all(type(length) is int and 0 <= length < 2**63 for length in shape):
        raise ValueError("a shape that is none")
    size = extent = _stored_type(dtype).itemsize
    for length in shape:
        size, extent = size * length, extent * max(length, 1)
    if extent > _LARGEST_ARRAY:
        raise ValueError("a shape of {} bytes".format(extent))
    return size


def _stored_type(dtype: str) -> Any:
    return np.dtype("int16" if dtype == "bfloat16" else dtype).newbyteorder("<")


def _decode_array(kind: str, blob: Blob) -> Any:
    if blob.dtype not in (_TORCH_TYPES if kind == "tensor" else _NUMPY_TYPES):
        raise ValueError("{} cannot be of type {!r}".format(kind, blob.dtype))
    if blob.dtype == "bool" and blob.data.size and int(blob.data.max()) > 1:
        raise ValueError("{} holds a bool that is neither 0 nor 1".format(blob.place))
    stored = _stored_type(blob.dtype)
    array = blob.data.view(stored).reshape(blob.shape).astype(stored.newbyteorder("="), copy=False)
    if kind == "array":
        return array
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if blob.dtype == "bfloat16" else tensor
