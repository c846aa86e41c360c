"""The zip inside a checkpoint file: members without compression, written from front to back and read strictly.

The reader trusts nothing: it takes the members in the order in which they are written, none twice, none compressed,
none longer than the file, and every byte of the file belongs to one of them or to the zip's own directory.

The digest at the end covers every byte before it but those of tensors, whose own digests stand in ``metadata.json`` and
so are covered too: each byte is hashed once.
"""

import contextlib
import hashlib
import json
import math
import struct
import zipfile
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, NamedTuple, NoReturn, Optional, Tuple

import numpy as np

from AquaML.coordinator.file_operations import Data
from AquaML.coordinator.state_codec import DEEPEST_NESTING, Blob, stored_size

FORMAT_NAME = "AquaML checkpoint"
FORMAT_VERSION = 2
FORMAT_TEXT = "{} {}".format(FORMAT_NAME, FORMAT_VERSION)
"""What stands at the beginning of ``metadata.json`` and again at the end of the file."""
METADATA_MEMBER = "metadata.json"
DIGEST_LENGTH = 64

LARGEST_METADATA = 64 * 2**20
"""Bytes of ``metadata.json`` at most; big values belong in tensors and arrays."""
MOST_VALUES = 250_000
"""Values in ``metadata.json`` at most, and one more for each 128 bytes: what bounds the memory that reading takes."""
MOST_TENSORS = 50_000

LOCAL_SIGNATURE = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_DESCRIPTOR = struct.Struct("<4sLQQ")
_DIRECTORY_SIGNATURE = b"PK\x01\x02"
_DIRECTORY_ENTRY = struct.Struct("<4s6H3L5H2L")
_LARGE_END_SIGNATURE, _LARGE_END_SIZE = b"PK\x06\x06", 56 + 20
_END_SIGNATURE = b"PK\x05\x06"
_END = struct.Struct("<4s4H2LH")
_ENCRYPTED = 1
_LONGEST_EXTRA = 32
_PIECE = 2**20


# ---------------------------------------------------------------------- writing


def write_archive(write: Callable[[Data], None], document: bytes, blobs: List[Blob], tail: str) -> None:
    """Write the zip, and at its end the SHA-256 of everything before but the bytes of tensors.

    Args:
        write: Takes the bytes, in their order.
        document: Content of ``metadata.json``.
        blobs: The tensors.
        tail: What the zip's comment says before the digest.
    """
    sink = _DigestedStream(write)
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[call-overload]
        _write_member(archive, METADATA_MEMBER, document, None)
        for index, blob in enumerate(blobs):
            _write_member(archive, member_name(index), blob.data.data, sink)
        archive.comment = tail.encode("ascii") + b"0" * DIGEST_LENGTH
    sink.finish()


def _write_member(archive: zipfile.ZipFile, name: str, data: Data, sink: Optional["_DigestedStream"]) -> None:
    # A fixed date: equal states give equal files.
    with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
        if sink is None:
            member.write(data)
        else:
            with sink.leaving_out():
                member.write(data)


def member_name(index: int) -> str:
    """Return the name of the member of one tensor."""
    return "tensors/{:06d}.bin".format(index)


class _DigestedStream:
    """What the zip is written to: passes bytes on, and in place of the last 64 the SHA-256 of those to be covered.

    It cannot be sought in, so that the zip is written from front to back, in one go.
    """

    def __init__(self, write: Callable[[Data], None]) -> None:
        self._write = write
        self._digest = hashlib.sha256()
        self._held = b""
        self._leaves_out = False

    @contextlib.contextmanager
    def leaving_out(self) -> Iterator[None]:
        """Pass on what is written in this block without hashing it; it is not the last that is written."""
        self._emit(self._held)
        self._held, self._leaves_out = b"", True
        try:
            yield
        finally:
            self._leaves_out = False

    def write(self, data: Data) -> int:
        """Pass on all but the last 64 bytes of what has come so far."""
        view = memoryview(data)
        length = len(view)
        if self._leaves_out:
            self._write(view)
        elif length < DIGEST_LENGTH:
            held = self._held + bytes(view)
            self._emit(held[:-DIGEST_LENGTH])
            self._held = held[-DIGEST_LENGTH:]
        else:
            self._emit(self._held)
            self._emit(view[:-DIGEST_LENGTH])
            self._held = bytes(view[-DIGEST_LENGTH:])
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


class TensorDigestError(ValueError):
    """The bytes of a tensor are not those whose digest stands in the metadata."""


class _Member(NamedTuple):
    name: str
    header: int
    start: int
    size: int
    entry: Dict[str, Any]


class CheckpointArchive:
    """The members of a checkpoint in the order in which they are written.

    Args:
        file: The open file.
        end: Position of the digest with which the file ends.
        metadata_size: Number of bytes of ``metadata.json``.

    Raises:
        ValueError: The structure is not that of a checkpoint; other builtin errors likewise.
    """

    def __init__(self, file: BinaryIO, end: int, metadata_size: int) -> None:
        self._file = file
        self._end = end
        if metadata_size > LARGEST_METADATA:
            raise ValueError("{} bytes of metadata".format(metadata_size))
        start = self._data_start(0, METADATA_MEMBER)
        self.document = parse_metadata(self._read(start, metadata_size))
        metadata = _Member(METADATA_MEMBER, 0, start, metadata_size, {})
        self._members = list(self._locate(start + metadata_size))
        self._require_directory([metadata] + self._members)
        self._taken = [False] * len(self._members)

    def _locate(self, position: int) -> Iterator[_Member]:
        for index, entry in enumerate(self.document["tensors"]):
            name, header = member_name(index), position + _DESCRIPTOR.size
            start = self._data_start(header, name)
            size = stored_size(entry["dtype"], tuple(entry["shape"]))
            position = start + size
            if position > self._end:
                raise ValueError("{} is longer than the file".format(name))
            yield _Member(name, header, start, size, entry)

    def _data_start(self, position: int, name: str) -> int:
        """Check the header at a position and return where the data after it begin."""
        fields = _LOCAL_HEADER.unpack(self._read(position, _LOCAL_HEADER.size).tobytes())
        signature, flags, method, name_length, extra_length = fields[0], fields[2], fields[3], fields[9], fields[10]
        start = position + _LOCAL_HEADER.size
        plain = method == zipfile.ZIP_STORED and not flags & _ENCRYPTED and extra_length <= _LONGEST_EXTRA
        if signature != LOCAL_SIGNATURE or not plain or not self._has_name(start, name_length, name):
            raise ValueError("at byte {} there is no plain member '{}'".format(position, name))
        return start + name_length + extra_length

    def _has_name(self, position: int, length: int, name: str) -> bool:
        return length == len(name) and self._read(position, length).tobytes() == name.encode("ascii")

    def _require_directory(self, members: List[_Member]) -> None:
        """Check that the zip's directory lists these members alone, so that no tool finds others."""
        begin = position = members[-1].start + members[-1].size + _DESCRIPTOR.size
        for member in members:
            fields = _DIRECTORY_ENTRY.unpack(self._read(position, _DIRECTORY_ENTRY.size).tobytes())
            sizes, (name_length, extra_length, comment_length), offset = fields[8:10], fields[10:13], fields[16]
            same = fields[0] == _DIRECTORY_SIGNATURE and fields[4] == zipfile.ZIP_STORED and not fields[3] & _ENCRYPTED
            same = same and all(_is(size, member.size) for size in sizes) and _is(offset, member.header)
            position += _DIRECTORY_ENTRY.size
            if not same or not self._has_name(position, name_length, member.name) or extra_length > _LONGEST_EXTRA:
                raise ValueError("the zip's directory does not list '{}' as it is".format(member.name))
            position += name_length + extra_length + comment_length
        size = position - begin
        if self._read(position, 4).tobytes() == _LARGE_END_SIGNATURE:
            position += _LARGE_END_SIZE
        fields = _END.unpack(self._read(position, _END.size).tobytes())
        behind = self._end + DIGEST_LENGTH - position - _END.size
        counted = all(_is(number, len(members), 0xFFFF) for number in fields[3:5])
        placed = _is(fields[5], size) and _is(fields[6], begin) and fields[7] == behind
        if fields[0] != _END_SIGNATURE or not counted or not placed:
            raise ValueError("the zip's directory does not end where the file does")

    def _read(self, start: int, size: int) -> np.ndarray:
        if start + size > self._end:
            raise ValueError("byte {} lies behind the end".format(start + size))
        data = np.empty(size, np.uint8)
        self._file.seek(start)
        if self._file.readinto(data.data) != size:  # type: ignore[attr-defined]
            raise ValueError("the file ends before byte {}".format(start + size))
        return data

    def digest(self) -> str:
        """Return the SHA-256 of every byte before the digest itself but those of tensors."""
        digest = hashlib.sha256()
        position = 0
        for start, stop in [(member.start, member.start + member.size) for member in self._members] + [
            (self._end,) * 2
        ]:
            while position < start:
                length = min(_PIECE, start - position)
                digest.update(self._read(position, length).data)
                position += length
            position = stop
        return digest.hexdigest()

    def take(self, index: int) -> Blob:
        """Read one tensor's bytes and compare their digest.

        Raises:
            TensorDigestError: Its digest differs.
            ValueError: There is none, or it was taken before.
        """
        if type(index) is not int or not 0 <= index < len(self._members) or self._taken[index]:
            raise ValueError("a tensor is missing or used twice")
        self._taken[index] = True
        member = self._members[index]
        entry = member.entry
        data = self._read(member.start, member.size)
        if hashlib.sha256(data.data).hexdigest() != entry["sha256"]:
            raise TensorDigestError("{} has another SHA-256 than the metadata say".format(_short(entry["place"])))
        return Blob(_short(entry["place"]), entry["dtype"], tuple(entry["shape"]), data)

    def require_complete(self) -> None:
        """Check that every tensor was used.

        Raises:
            ValueError: One was not.
        """
        if not all(self._taken):
            raise ValueError("tensor {} belongs to nothing".format(self._taken.index(False)))

    def damaged(self) -> List[str]:
        """Return the places of all tensors whose digest differs."""
        return [
            _short(member.entry["place"])
            for member in self._members
            if hashlib.sha256(self._read(member.start, member.size).data).hexdigest() != member.entry["sha256"]
        ]


def _is(found: int, expected: int, largest: int = 0xFFFFFFFF) -> bool:
    """Return whether a number of the directory is the expected one, or says that it stands elsewhere for its size."""
    return found in (expected, largest)


def _short(place: Any) -> str:
    text = str(place)
    return text if len(text) <= 200 else text[:200] + "..."


# ---------------------------------------------------------------------- metadata


def excess(characters: np.ndarray) -> str:
    """Return what is too much in metadata, looking only at their characters; empty if nothing is.

    Args:
        characters: ``(bytes,)`` uint8.
    """
    values = depth = deepest = 0
    for start in range(0, len(characters), _PIECE):
        piece = characters[start : start + _PIECE]
        opening = (piece == ord("[")) | (piece == ord("{"))
        steps = opening.astype(np.int8) - ((piece == ord("]")) | (piece == ord("}"))).astype(np.int8)
        values += int(opening.sum()) + int((piece == ord(",")).sum())
        depths = np.cumsum(steps, dtype=np.int32)
        deepest = max(deepest, depth + int(depths.max()))
        depth += int(depths[-1])
    if len(characters) > LARGEST_METADATA:
        return "{} bytes of metadata".format(len(characters))
    if values > MOST_VALUES + len(characters) // 128:
        return "{} values outside of tensors".format(values)
    return "{} levels of nesting".format(deepest) if deepest > DEEPEST_NESTING else ""


def parse_metadata(data: np.ndarray) -> Dict[str, Any]:
    """Parse ``metadata.json`` as strictly as it is written.

    Args:
        data: ``(bytes,)`` uint8.

    Raises:
        ValueError: It is none, or larger than reading should take; other builtin errors likewise.
    """
    problem = excess(data)
    if problem:
        raise ValueError(problem)
    text = str(data.data, "ascii")
    del data
    document = json.loads(
        text,
        object_pairs_hook=_unique,
        parse_int=_integer,
        parse_float=_finite,
        parse_constant=_refuse_constant,
    )
    if not isinstance(document, dict) or document.get("format") != FORMAT_TEXT:
        raise ValueError("the metadata do not name the format")
    if set(document) != {"format", "metadata", "parts", "tensors"}:
        raise ValueError("the metadata hold {} entries".format(len(document)))
    tensors = document["tensors"]
    if not isinstance(tensors, list) or len(tensors) > MOST_TENSORS:
        raise ValueError("the metadata list no tensors, or too many")
    for entry in tensors:
        if not isinstance(entry, dict) or set(entry) != {"place", "dtype", "shape", "sha256"}:
            raise ValueError("the metadata describe a tensor otherwise than by place, dtype, shape and sha256")
        if not isinstance(entry["shape"], list):
            raise ValueError("a shape that is no list")
    return document


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _integer(text: str) -> int:
    number = int(text) if len(text) <= 20 else 2**63
    if not -(2**63) <= number < 2**63:
        raise ValueError("a number of {} digits".format(len(text)))
    return number


def _finite(text: str) -> float:
    number = float(text) if len(text) <= 32 else math.inf
    if not math.isfinite(number):
        raise ValueError("a number of {} characters that is none".format(len(text)))
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError("{} is no JSON number".format(text))
