"""Damages of a file: what disks, cables and interrupted copies do. No digest is corrected."""

import random
import struct
from typing import Callable, Dict, List

_SIGNATURES = (b"PK\x03\x04", b"PK\x07\x08", b"PK\x01\x02", b"PK\x05\x06", b"AquaML checkpoint", b"tensors/")
Damage = Callable[[bytes, bytes, random.Random], bytes]


def boundaries(content: bytes) -> List[int]:
    """Return the positions of all structures of the zip, and of the file's end."""
    found = [0, len(content), len(content) - 64]
    for signature in _SIGNATURES:
        position = content.find(signature)
        while position >= 0:
            found += [position, position + len(signature)]
            position = content.find(signature, position + 1)
    return sorted(set(found))


def _near_boundary(content: bytes, generator: random.Random) -> int:
    return min(max(generator.choice(boundaries(content)) + generator.randint(-64, 64), 0), len(content) - 1)


def _block(content: bytes, generator: random.Random) -> slice:
    length = generator.choice((1, 2, 7, 16, 64, 512, 4096))
    start = generator.randrange(max(1, len(content) - length))
    return slice(start, start + length)


def flip_a_bit(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """One bit anywhere."""
    changed = bytearray(content)
    changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def flip_bits(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """Two to nine bits."""
    for _ in range(generator.randint(2, 9)):
        content = flip_a_bit(content, other, generator)
    return content


def flip_near_boundary(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """One bit in or beside a structure of the zip."""
    changed = bytearray(content)
    changed[_near_boundary(content, generator)] ^= 1 << generator.randrange(8)
    return bytes(changed)


def set_a_byte(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """One byte becomes 0, 255 or another one."""
    changed = bytearray(content)
    place = generator.randrange(len(changed))
    changed[place] = generator.choice(
        [value for value in (0, 255, generator.randrange(256)) if value != changed[place]]
    )
    return bytes(changed)


def set_bytes_near_boundary(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """Four bytes in or beside a structure become a size or position of another value."""
    changed = bytearray(content)
    place = min(_near_boundary(content, generator), len(changed) - 4)
    value = generator.choice((0, 1, 2**16, 2**31, 2**32 - 1, len(content), generator.randrange(2**32)))
    changed[place : place + 4] = struct.pack("<L", value)
    return bytes(changed) if bytes(changed) != content else flip_a_bit(content, other, generator)


def truncate(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The end is missing, from anywhere on."""
    return content[: generator.randrange(len(content))]


def truncate_near_boundary(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The end is missing, from a structure of the zip on."""
    return content[: _near_boundary(content, generator)]


def zero_a_block(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A block is zero."""
    block = _block(content, generator)
    changed = content[: block.start] + bytes(block.stop - block.start) + content[block.stop :]
    return changed if changed != content else flip_a_bit(content, other, generator)


def zero_the_end(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """Everything from some place on is zero, as after power loss."""
    place = generator.randrange(len(content) - 1)
    return content[:place] + bytes(len(content) - place)


def duplicate_a_block(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A block stands twice."""
    block = _block(content, generator)
    return content[: block.stop] + content[block] + content[block.stop :]


def drop_a_block(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A block is missing."""
    block = _block(content, generator)
    return content[: block.start] + content[block.stop :]


def insert_a_block(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """Bytes that were not there stand somewhere, also behind the end."""
    place = generator.choice((0, len(content), generator.randrange(len(content))))
    inserted = bytes(generator.randrange(256) for _ in range(generator.choice((1, 3, 64, 500))))
    return content[:place] + inserted + content[place:]


def swap_blocks(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """Two blocks of equal length have changed places."""
    length = generator.choice((1, 8, 64, 512, 2048))
    first, second = sorted(generator.randrange(len(content) - length) for _ in range(2))
    if second - first < length:
        return flip_a_bit(content, other, generator)
    blocks = content[first : first + length], content[second : second + length]
    changed = content[:first] + blocks[1] + content[first + length : second] + blocks[0] + content[second + length :]
    return changed if changed != content else flip_a_bit(content, other, generator)


def splice(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The beginning of one checkpoint and the end of another."""
    place = generator.randrange(1, min(len(content), len(other)))
    changed = content[:place] + other[place:]
    return changed if changed not in (content, other) else flip_a_bit(content, other, generator)


def splice_at_boundary(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The same, cut at a structure of the zip: members of one file in the other."""
    place = generator.choice([position for position in boundaries(content) if 0 < position < len(content) - 64])
    changed = content[:place] + other[place:] if generator.random() < 0.5 else other[:place] + content[place:]
    return changed if changed not in (content, other) else flip_a_bit(content, other, generator)


def splice_a_block(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A block of another checkpoint in the place of this one's."""
    block = _block(content, generator)
    changed = content[: block.start] + other[block] + content[block.stop :]
    return changed if changed != content else flip_a_bit(content, other, generator)


def foreign_digest(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The end of another checkpoint."""
    return content[:-64] + other[-64:]


DAMAGES: Dict[str, Damage] = {
    function.__name__: function
    for function in (
        flip_a_bit,
        flip_bits,
        flip_near_boundary,
        set_a_byte,
        set_bytes_near_boundary,
        truncate,
        truncate_near_boundary,
        zero_a_block,
        zero_the_end,
        duplicate_a_block,
        drop_a_block,
        insert_a_block,
        swap_blocks,
        splice,
        splice_at_boundary,
        splice_a_block,
        foreign_digest,
    )
}
