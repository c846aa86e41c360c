"""Files that were tampered with and whose digests are all right again, as an attacker would write them."""

import json
import random
from typing import Any, Callable, Dict, List, Tuple

from AquaML.coordinator.checkpoint_archive import FORMAT_NAME, FORMAT_VERSION
from benchmarks.reliability.damage import DAMAGES
from benchmarks.reliability.forging import Unpacked, pack, redigest, unpack, with_tensor_digests

Forgery = Callable[[bytes, bytes, random.Random], bytes]

_VALUES: Tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    2**31,
    2**63 - 1,
    -(2**63),
    0.5,
    -1e308,
    "",
    "x",
    "../x",
    [],
    [1, 2],
    {},
    {"a": 1},
    {"$": "int", "value": hex(2**70)},
    {"$": "float", "value": "nan"},
    {"$": "tuple", "items": [1, 2]},
    {"$": "dict", "items": [[1, 2]]},
    {"$": "tensor", "index": 0},
    {"$": "array", "index": 1},
    {"$": "unknown", "value": 1},
)
_TEXTS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 30, b"-0", b"1.0", b"00", b"'a'", b"{", b"]", b"\\u0000")


def _places(value: Any, found: List[Tuple[Any, Any]]) -> List[Tuple[Any, Any]]:
    """Collect every (container, key) below a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        found.append((value, key))
        _places(item, found)
    return found


def _random_place(document: Any, generator: random.Random) -> Tuple[Any, Any]:
    """Choose a place anywhere, but one in three outside of the long list of random numbers that a run holds."""
    places = _places(document, [])
    short = [(container, key) for container, key in places if len(container) < 100]
    return generator.choice(short or places)


def _packed(document: Any, tensors: List[bytes]) -> bytes:
    unpacked = with_tensor_digests(Unpacked(document, tensors))
    return pack(unpacked.document, unpacked.tensors)


def replace_a_value(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A value of the metadata becomes another one, often of another kind."""
    document, tensors = unpack(content)
    container, key = _random_place(document, generator)
    container[key] = generator.choice(_VALUES)
    return _packed(document, tensors)


def change_a_number(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A number of the metadata becomes a near or a far one."""
    document, tensors = unpack(content)
    numbers = [(c, k) for c, k in _places(document, []) if type(c[k]) in (int, float)]
    container, key = generator.choice(numbers)
    value = container[key]
    container[key] = generator.choice((value + 1, value - 1, -value - 1, value * 2 + 1, 2**40, value + 0.5))
    return _packed(document, tensors)


def drop_a_value(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A key or an entry of a list is missing."""
    document, tensors = unpack(content)
    container, key = _random_place(document, generator)
    del container[key]
    return _packed(document, tensors)


def add_a_value(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A key or an entry too much."""
    document, tensors = unpack(content)
    container, _ = _random_place(document, generator)
    if isinstance(container, list):
        container.insert(generator.randint(0, len(container)), generator.choice(_VALUES))
    else:
        container[generator.choice(("more", "$", "", "weight", "__class__", "0"))] = generator.choice(_VALUES)
    return _packed(document, tensors)


def rename_a_key(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A key has another name, or that of its neighbour."""
    document, tensors = unpack(content)
    container, key = generator.choice([(c, k) for c, k in _places(document, []) if isinstance(c, dict)])
    value = container.pop(key)
    container[generator.choice([key + "x", key[:-1], key.upper(), "../" + key] + list(container))] = value
    return _packed(document, tensors)


def reorder_keys(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The keys of a dictionary stand in another order."""
    document, tensors = unpack(content)
    container, key = generator.choice([(c, k) for c, k in _places(document, []) if isinstance(c[k], dict)])
    items = list(container[key].items())
    generator.shuffle(items)
    container[key] = dict(items)
    return _packed(document, tensors)


def swap_values(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """Two values of the metadata have changed places."""
    document, tensors = unpack(content)
    (first, key), (second, other_key) = _random_place(document, generator), _random_place(document, generator)
    first[key], second[other_key] = json.loads(json.dumps(second[other_key])), json.loads(json.dumps(first[key]))
    return _packed(document, tensors)


def nest_a_value(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A value stands within lists or dictionaries, a few or very many."""
    document, tensors = unpack(content)
    container, key = _random_place(document, generator)
    for _ in range(generator.choice((1, 2, 50, 120, 300))):
        container[key] = [container[key]] if generator.random() < 0.5 else {"a": container[key]}
    return _packed(document, tensors)


def change_a_shape(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A tensor claims another shape."""
    document, tensors = unpack(content)
    entry = generator.choice(document["tensors"])
    shape = entry["shape"]
    entry["shape"] = generator.choice(
        (
            shape[::-1],
            shape + [1],
            [1] + shape,
            shape[1:],
            [length + 1 for length in shape],
            [length - 1 for length in shape],
            [-length for length in shape],
            [0] + shape,
            shape + [2**40],
            [2**62, 4, 2**62],
            [float(length) for length in shape],
            [str(length) for length in shape],
            [[length] for length in shape],
            None,
        )
    )
    return _packed(document, tensors)


def change_a_type(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A tensor claims another type."""
    document, tensors = unpack(content)
    names = ("float32", "int32", "uint32", "float64", "int64", "float16", "bfloat16", "bool", "uint8", "object", "<f4")
    generator.choice(document["tensors"])["dtype"] = generator.choice(names + ("O", "V4", "complex64", "str", "", None))
    return _packed(document, tensors)


def swap_tensors(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The bytes of two tensors have changed places."""
    document, tensors = unpack(content)
    first, second = (generator.randrange(len(tensors)) for _ in range(2))
    tensors[first], tensors[second] = tensors[second], tensors[first]
    return _packed(document, tensors)


def swap_indices(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A tensor's index is another one's, or none."""
    document, tensors = unpack(content)
    marks = [c for c, k in _places(document, []) if k == "index"]
    first, second = generator.choice(marks), generator.choice(marks)
    if generator.random() < 0.5:
        first["index"], second["index"] = second["index"], first["index"]
    else:
        first["index"] = generator.choice((-1, len(tensors), second["index"], 0.0, "0", True, None, 2**63 - 1))
    return _packed(document, tensors)


def change_tensor_bytes(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The bytes of a tensor are fewer, more, others, or another file's."""
    document, tensors = unpack(content)
    index = generator.randrange(len(tensors))
    data, foreign = tensors[index], unpack(other)[1]
    tensors[index] = generator.choice(
        (data[:-1], data + b"\0", bytes(len(data)), b"\xff" * len(data), foreign[index % len(foreign)], b"")
    )
    return _packed(document, tensors)


def wrong_tensor_digest(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The digest of one tensor is another one's; that of the whole is right."""
    document, tensors = unpack(content)
    entry = generator.choice(document["tensors"])
    entry["sha256"] = generator.choice((generator.choice(document["tensors"])["sha256"], "", "0" * 64, None, 5))
    return pack(document, tensors)


def splice_parts(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """A part of another checkpoint in the place of this one's, with its tensors."""
    document, tensors = unpack(content)
    foreign, more = unpack(other)
    name = generator.choice([name for name in document["parts"] if name in foreign["parts"]])
    for container, key in _places(foreign, []):
        if key == "index":
            container[key] += len(tensors)
    document["parts"][name] = foreign["parts"][name]
    document["tensors"] += foreign["tensors"]
    kept = sorted({c[k] for c, k in _places([document["metadata"], document["parts"]], []) if k == "index"})
    for container, key in _places([document["metadata"], document["parts"]], []):
        if key == "index":
            container[key] = kept.index(container[key])
    document["tensors"] = [document["tensors"][index] for index in kept]
    return _packed(document, [(tensors + more)[index] for index in kept])


def swap_parts(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """Two parts have changed places, or one stands twice, or is missing."""
    document, tensors = unpack(content)
    parts = document["parts"]
    first, second = generator.choice(list(parts)), generator.choice(list(parts))
    choice = generator.randrange(4)
    if choice == 0:
        parts[first], parts[second] = parts[second], parts[first]
    elif choice == 1:
        parts[first + "/more"] = {"role": parts[first]["role"], "class": "Copy", "state": {}}
    elif choice == 2:
        parts[first]["role"] = generator.choice(("weights", "training", "run", "other", ""))
    else:
        del parts[first]
    return _packed(document, tensors)


def change_the_version(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The format has another number."""
    document, tensors = unpack(content)
    version = generator.choice((0, 1, FORMAT_VERSION + 1, 10**8))
    if generator.random() < 0.5:
        document["format"] = "{} {}".format(FORMAT_NAME, version)
    return pack(document, tensors, version)


def broken_json(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """The text of the metadata holds what JSON does not know, or a key twice."""
    document, tensors = unpack(content)
    text = bytearray(json.dumps(document).encode("ascii"))
    numbers = [
        place for place in range(1, len(text) - 1) if text[place : place + 1].isdigit() and text[place - 1] == 32
    ]
    place = generator.choice(numbers)
    if generator.random() < 0.5:
        text[place : place + 1] = generator.choice(_TEXTS)
    else:
        key = generator.choice(("parts", "metadata", "format", "tensors"))
        text[1:1] = '"{}": {}, '.format(key, json.dumps(document[key])).encode("ascii")
    return pack(bytes(text), tensors)


def damage_with_right_digest(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """Any damage of the bytes, and behind it the digest of what is there now."""
    name = generator.choice([name for name in DAMAGES if not name.startswith("truncate")])
    return redigest(DAMAGES[name](content, other, generator))


FORGERIES: Dict[str, Forgery] = {
    function.__name__: function
    for function in (
        replace_a_value,
        change_a_number,
        drop_a_value,
        add_a_value,
        rename_a_key,
        reorder_keys,
        swap_values,
        nest_a_value,
        change_a_shape,
        change_a_type,
        swap_tensors,
        swap_indices,
        change_tensor_bytes,
        wrong_tensor_digest,
        splice_parts,
        swap_parts,
        change_the_version,
        broken_json,
        damage_with_right_digest,
    )
}
