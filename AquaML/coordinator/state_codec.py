"""States as JSON values and raw little-endian arrays, and back; nothing is pickled and no name is looked up."""

import dataclasses
import math
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import torch

from AquaML.errors import StateError

TAG = "$"
_ARRAYS = ("tensor", "array")
_LONGEST_INTEGER = 4096

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


def encode(value: Any, place: str, blobs: List[Blob]) -> Any:
    """Turn a state into JSON values, appending tensors and arrays to ``blobs``.

    Raises:
        StateError: A value is of a kind that a checkpoint cannot hold; names its place.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        # Hexadecimal beyond 64 bits: other JSON readers round such numbers, and Python limits their decimal digits.
        return value if -(2**63) <= value < 2**63 else {TAG: "int", "value": hex(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {TAG: "float", "value": repr(float(value))}
    if isinstance(value, torch.Tensor):
        return _encode_tensor(value, place, blobs)
    if isinstance(value, np.ndarray):
        return _encode_array(value, "array", value.dtype.name, place, blobs)
    if isinstance(value, np.generic) and value.dtype.name in _NUMPY_TYPES:
        return encode(value.item(), place, blobs)
    if isinstance(value, list):
        return [encode(item, "{}[{}]".format(place, index), blobs) for index, item in enumerate(value)]
    if isinstance(value, tuple):
        return {TAG: "tuple", "items": encode(list(value), place, blobs)}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and TAG not in value:
            return {key: encode(item, "{}.{}".format(place, key), blobs) for key, item in value.items()}
        pairs = [
            [encode(key, place, blobs), encode(item, "{}.{}".format(place, key), blobs)] for key, item in value.items()
        ]
        return {TAG: "dict", "items": pairs}
    raise StateError(
        "{} holds a {}; a checkpoint holds tensors, numpy arrays, numbers, strings, None, lists, tuples and "
        "dicts.".format(place, type(value).__name__)
    )


def _encode_tensor(tensor: torch.Tensor, place: str, blobs: List[Blob]) -> Dict[str, Any]:
    if tensor.dtype not in _TORCH_NAMES:
        raise StateError("{} is a tensor of type {}, which a checkpoint cannot hold.".format(place, tensor.dtype))
    if tensor.layout != torch.strided:
        raise StateError("{} is a tensor of layout {}, save it as a dense one.".format(place, tensor.layout))
    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        plain = plain.view(torch.int16)
    return _encode_array(plain.numpy(), "tensor", _TORCH_NAMES[tensor.dtype], place, blobs)


def _encode_array(array: np.ndarray, kind: str, dtype: str, place: str, blobs: List[Blob]) -> Dict[str, Any]:
    if array.dtype.name not in _NUMPY_TYPES:
        raise StateError("{} is an array of type {}, which a checkpoint cannot hold.".format(place, array.dtype))
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    blobs.append(Blob(place, dtype, array.shape, np.ascontiguousarray(little).reshape(-1).view(np.uint8)))
    return {TAG: kind, "index": len(blobs) - 1}


def decode(value: Any, read: Reader) -> Any:
    """Turn JSON values back into a state.

    Raises:
        ValueError: A value is none that :func:`encode` writes; other builtin errors where its structure is wrong.
    """
    if isinstance(value, list):
        return [decode(item, read) for item in value]
    if not isinstance(value, dict):
        return value
    tag = value.get(TAG)
    if tag is None:
        return {key: decode(item, read) for key, item in value.items()}
    if tag == "int":
        return _decode_integer(value["value"])
    if tag == "float":
        return float(value["value"])
    if tag == "tuple":
        return tuple(decode(item, read) for item in value["items"])
    if tag == "dict":
        return {decode(key, read): decode(item, read) for key, item in value["items"]}
    if tag in _ARRAYS:
        return _decode_array(tag, read(value["index"]))
    raise ValueError("unknown tag {!r}".format(tag))


def _decode_integer(text: str) -> int:
    if not isinstance(text, str) or len(text) > _LONGEST_INTEGER:
        raise ValueError("an integer of more than {} digits".format(_LONGEST_INTEGER))
    return int(text, 16)


def stored_size(dtype: str, shape: Tuple[int, ...]) -> int:
    """Return the number of bytes of an array.

    Raises:
        ValueError: Type or shape is none that a checkpoint holds.
    """
    if dtype not in _TORCH_TYPES and dtype not in _NUMPY_TYPES:
        raise ValueError("unknown type {!r}".format(dtype))
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("shape {}".format(shape))
    size = _stored_type(dtype).itemsize
    for length in shape:
        size *= length
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
