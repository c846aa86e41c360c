"""Checkpoint files taken apart and put together again with right digests, and a second reader to compare with.

The second reader shares no code with AquaML's: it goes by the zip's own directory and by plain JSON.
"""

import hashlib
import io
import json
import re
import struct
import zipfile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

import numpy as np
import torch

from AquaML.coordinator.checkpoint_archive import DIGEST_LENGTH, FORMAT_NAME, CheckpointArchive, write_archive
from AquaML.coordinator.checkpoint_format import FORMAT_VERSION
from AquaML.coordinator.state_codec import Blob, encode

_LOCAL_HEADER = 30


class Unpacked(NamedTuple):
    """A checkpoint file taken apart.

    Attributes:
        document: What ``metadata.json`` says.
        tensors: The bytes of each tensor.
    """

    document: Dict[str, Any]
    tensors: List[bytes]


def unpack(content: bytes) -> Unpacked:
    """Take a file apart by the zip's own directory, without looking at any digest.

    Raises:
        zipfile.BadZipFile: It is no zip; other errors where members or JSON are broken.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [_raw_member(content, info) for info in archive.infolist()]
    return Unpacked(json.loads(members[0].decode("ascii")), members[1:])


def _raw_member(content: bytes, info: zipfile.ZipInfo) -> bytes:
    name_length, extra_length = struct.unpack_from("<2H", content, info.header_offset + 26)
    start = info.header_offset + _LOCAL_HEADER + name_length + extra_length
    return content[start : start + info.file_size]


def with_tensor_digests(unpacked: Unpacked) -> Unpacked:
    """Return the same with the digest of each tensor that is still described as one computed anew."""
    entries = unpacked.document.get("tensors")
    if isinstance(entries, list):
        for entry, data in zip(entries, unpacked.tensors):
            if isinstance(entry, dict) and "sha256" in entry:
                entry["sha256"] = hashlib.sha256(data).hexdigest()
    return unpacked


def pack(document: Any, tensors: Sequence[bytes], version: int = FORMAT_VERSION) -> bytes:
    """Put a file together whose zip and whose digest of the whole are right, whatever it says.

    Args:
        document: JSON values, or the very bytes of ``metadata.json``.
        tensors: The bytes of each tensor.
        version: Number of the format.
    """
    text = document if isinstance(document, bytes) else json.dumps(document).encode("ascii")
    blobs = [Blob("", "uint8", (len(data),), np.frombuffer(data, np.uint8)) for data in tensors]
    tail = "{} {}, metadata {} bytes, SHA-256 ".format(FORMAT_NAME, version, len(text))
    buffer = io.BytesIO()
    write_archive(buffer.write, text, blobs, tail)
    return buffer.getvalue()


def redigest(content: bytes) -> bytes:
    """Replace the last bytes of a file by the digest that a reader will compare, if it gets as far as that."""
    size = re.search(rb"metadata ([0-9]{1,12}) bytes, SHA-256 [0-9a-f]{64}\Z", content)
    try:
        if size is None:
            raise ValueError("no end")
        digest = CheckpointArchive(io.BytesIO(content), len(content) - DIGEST_LENGTH, int(size.group(1))).digest()
    except Exception:  # No reader gets as far.
        digest = hashlib.sha256(content[:-DIGEST_LENGTH]).hexdigest()
    return content[:-DIGEST_LENGTH] + digest.encode("ascii")


def said_by(content: bytes) -> Dict[str, Any]:
    """Return ``{"metadata", "parts"}`` as a file says them, read by the second reader.

    Raises:
        Exception: The file says nothing that makes sense.
    """
    document, tensors = unpack(content)
    entries = document["tensors"]
    return {name: _value(document[name], entries, tensors) for name in ("metadata", "parts")}


def _value(value: Any, entries: List[Any], tensors: List[bytes]) -> Any:
    if isinstance(value, list):
        return [_value(item, entries, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$" not in value:
        return {key: _value(item, entries, tensors) for key, item in value.items()}
    kind = value["$"]
    if kind in ("tensor", "array"):
        return _array(kind, entries[value["index"]], tensors[value["index"]])
    if kind == "tuple":
        return tuple(_value(item, entries, tensors) for item in value["items"])
    if kind == "dict":
        return {_value(key, entries, tensors): _value(item, entries, tensors) for key, item in value["items"]}
    return {"int": lambda text: int(text, 16), "float": float}[kind](value["value"])


def _array(kind: str, entry: Dict[str, Any], data: bytes) -> Any:
    half = entry["dtype"] == "bfloat16"
    array = np.frombuffer(data, "<i2" if half else np.dtype(entry["dtype"]).newbyteorder("<"))
    array = array.reshape(entry["shape"]).copy()
    if kind == "array":
        return array
    return torch.from_numpy(array).view(torch.bfloat16) if half else torch.from_numpy(array)


def exact_digest(value: Any) -> str:
    """Return the SHA-256 of a state: every key in its order, every type, shape and bit counts."""
    blobs: List[Blob] = []
    digest = hashlib.sha256(json.dumps(encode(value, "", blobs)).encode("ascii"))
    for blob in blobs:
        digest.update("{} {};".format(blob.dtype, blob.shape).encode("ascii"))
        digest.update(blob.data.data)
    return digest.hexdigest()


def write(path: Path, content: bytes) -> Path:
    """Write bytes to a file and return it."""
    path.write_bytes(content)
    return path
