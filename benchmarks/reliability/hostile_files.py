"""Files made to run code, to write elsewhere, or to take memory and time without end; each is made by its own function.

All are made from one sound checkpoint of an agent, whose digests are computed anew where the attack lies deeper.
"""

import functools
import io
import json
import os
import pickle
import random
import socket
import stat
import warnings
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple, Union

import torch

from AquaML.coordinator.checkpoint_format import FORMAT_VERSION
from benchmarks.reliability.forging import pack, redigest, unpack, with_tensor_digests

Maker = Callable[[Path], Path]
"""Makes the file in a folder and returns what is to be loaded."""
Content = Union[bytes, Callable[[], bytes]]
"""Bytes, or what makes them; the large ones are made when they are needed."""
CANARY = "canary"
_MEMBERS = (b"PK\x01\x02", b"PK\x03\x04")


class Payload:
    """An object whose pickle calls a function.

    Args:
        function: What is called.
        arguments: With what.
    """

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def payloads() -> Dict[str, bytes]:
    """Return pickles that leave a canary where they are loaded, by name and protocol."""
    command = "touch {}".format(CANARY)
    calls = {
        "os.system": Payload(os.system, command),
        "exec": Payload(exec, "open({!r}, 'w')".format(CANARY)),
        "eval": Payload(eval, "open({!r}, 'w')".format(CANARY)),
        "open": Payload(open, CANARY, "w"),
        "touch": Payload(Path.touch, Path(CANARY)),
        "mkdir": Payload(os.mkdir, CANARY),
        "import": Payload(__import__, "antigravity"),
        "rebuild": Payload(torch._utils._rebuild_parameter, torch.ones(1), False, Payload(os.system, command)),
    }
    return {
        "{} {}".format(name, protocol): pickle.dumps(call, protocol)
        for name, call in calls.items()
        for protocol in (0, 2, 4)
    }


def hostile_files(sound: bytes, seed: int) -> Dict[str, Maker]:
    """Return all files by name.

    Args:
        sound: A sound checkpoint.
        seed: Decides what is drawn.
    """
    groups = (_pickles, _pickled_members, _tags, _bombs, _zips, _names, _shapes, _json, _spaces, _ends, _drawn)
    makers: Dict[str, Maker] = {}
    for group in groups:
        for name, content in group(sound, random.Random(seed)):
            makers["{}: {}".format(group.__name__[1:], name)] = _writer(content)
    makers.update(special_files(sound))
    return makers


def _writer(content: Content) -> Maker:
    def make(folder: Path) -> Path:
        path = folder / "hostile.aqua"
        path.write_bytes(content if isinstance(content, bytes) else content())
        return path

    return make


Files = Iterator[Tuple[str, Content]]


def _pickles(sound: bytes, generator: random.Random) -> Files:
    for name, data in payloads().items():
        yield name, data
        yield name + " with our end", redigest(data + sound[-160:])
        if name.endswith("2"):
            for is_zip in (True, False):
                buffer = io.BytesIO()
                torch.save({"policy": _Raw(data)}, buffer, _use_new_zipfile_serialization=is_zip)
                yield "{} in torch.save {}".format(name, is_zip), buffer.getvalue()


class _Raw:
    """Pickles as whatever a pickle says."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        return (pickle.loads, (self.data,))


def _pickled_members(sound: bytes, generator: random.Random) -> Files:
    for name, data in payloads().items():
        if not name.endswith("4"):
            continue
        document, tensors = unpack(sound)
        yield name + " as metadata", pack(data, tensors)
        document["tensors"][0].update(dtype="uint8", shape=[len(data)])
        tensors[0] = data
        yield name + " as tensor", _pack(document, tensors)
        document["tensors"][0].update(dtype="object", shape=[1])
        yield name + " as objects", _pack(document, tensors)
        yield name + " before the end", redigest(sound[:-160] + data + sound[-160:])
        yield name + " as more", pack(unpack(sound).document, unpack(sound).tensors + [data])


def _pack(document: Any, tensors: List[bytes]) -> bytes:
    return pack(*with_tensor_digests(unpack(pack(document, tensors))))


def _with_state(sound: bytes, value: Any) -> bytes:
    document, tensors = unpack(sound)
    document["parts"]["more"] = {"role": "training", "class": "More", "state": value}
    return pack(document, tensors)


def _tags(sound: bytes, generator: random.Random) -> Files:
    command = "touch {}".format(CANARY)
    for tag in ("object", "pickle", "module", "function", "eval", "exec", "class", "torch", "code", "lambda", "import"):
        yield tag, _with_state(sound, {"$": tag, "value": "os.system", "arguments": [command]})
    for key in ("py/object", "py/reduce", "__reduce__", "__class__", "__import__", "!!python/object/apply:os.system"):
        yield key, _with_state(sound, {key: ["os.system", command]})
    for name in ("os.system", "builtins.exec", "__import__('os').system('{}')".format(command)):
        document, tensors = unpack(sound)
        for part in document["parts"].values():
            part["class"] = name
        for field in ("agent_class", "algorithm"):
            document["metadata"][field] = name
        yield "class " + name, pack(document, tensors)
        document["metadata"]["config"] = {"$": "dict", "items": [["reward_shaper", name]]}
        yield "config " + name, pack(document, tensors)


def _zip(members: List[Tuple[zipfile.ZipInfo, bytes]], sound: bytes, metadata_size: int) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # Of names that stand twice.
        for info, data in members:
            archive.writestr(info, data)
        tail = "AquaML checkpoint {}, metadata {} bytes, SHA-256 ".format(FORMAT_VERSION, metadata_size)
        archive.comment = tail.encode("ascii") + b"0" * 64
    return redigest(buffer.getvalue())


def _info(name: str, method: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = method
    return info


def _bombs(sound: bytes, generator: random.Random) -> Files:
    text = json.dumps(unpack(sound).document).encode("ascii")
    methods = {"deflate": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}

    def bomb(method: int, megabytes: int, size: int, as_tensor: bool) -> bytes:
        zeros = bytes(megabytes * 2**20)
        if as_tensor:
            return _zip([(_info("metadata.json"), text), (_info("tensors/000000.bin", method), zeros)], sound, size)
        return _zip([(_info("metadata.json", method), zeros)], sound, size)

    for name, method in methods.items():
        for megabytes in (1, 10):
            for size in (len(text), megabytes * 2**20, 10**11):
                label = "metadata {} {} MB said to be {}".format(name, megabytes, size)
                yield label, functools.partial(bomb, method, megabytes, size, False)
            label = "tensor {} {} MB".format(name, megabytes)
            yield label, functools.partial(bomb, method, megabytes, len(text), True)
    nested = _zip([(_info("metadata.json", zipfile.ZIP_DEFLATED), bytes(2**24))], sound, 10)
    yield "zip in zip", _zip([(_info("metadata.json"), nested)], sound, len(nested))


def _zips(sound: bytes, generator: random.Random) -> Files:
    text = json.dumps(unpack(sound).document).encode("ascii")
    twice = [(_info("metadata.json"), text), (_info("metadata.json"), text)]
    yield "metadata twice", _zip(twice, sound, len(text))
    tensor = (_info("tensors/000000.bin"), b"\0" * 8)
    yield "tensor twice", _zip([(_info("metadata.json"), text), tensor, tensor], sound, len(text))
    entry = sound.index(_MEMBERS[0])
    entries = [place for place in range(entry, len(sound)) if sound.startswith(_MEMBERS[0], place)]
    for place in entries[1:8]:
        # All members at the place of the first: they overlap.
        yield "overlap {}".format(place), redigest(sound[: place + 42] + bytes(4) + sound[place + 46 :])
    for offset, label in ((20, "size"), (24, "original size"), (42, "place")):
        for value in (b"\xff" * 4, b"\x7f" + b"\xff" * 3):
            changed = sound[: entry + offset] + value + sound[entry + offset + 4 :]
            yield "{} {!r}".format(label, value), redigest(changed)
    end = sound.index(b"PK\x05\x06")
    for offset in (4, 6, 8, 10, 12, 14, 16, 18, 20):
        yield "end {}".format(offset), redigest(sound[: end + offset] + b"\xff\xff" + sound[end + offset + 2 :])
    yield "second archive behind", sound + sound
    yield "second archive before", redigest(sound[:-64] + sound)
    yield "archive within", _with_state(sound, sound[:2000].hex())


def _names(sound: bytes, generator: random.Random) -> Files:
    document, tensors = unpack(sound)
    text = json.dumps(document).encode("ascii")
    names = ("../" * 8 + "tmp/" + CANARY, "/tmp/" + CANARY, "C:\\" + CANARY, "\\\\host\\" + CANARY, "~/" + CANARY)
    names += ("tensors/../../" + CANARY, "tensors/000000.bin/", "CON", ".", "..", "-rf", "a" * 5000, "$(touch canary)")
    for name in names:
        yield "member " + name[:30], _zip([(_info("metadata.json"), text), (_info(name), tensors[0])], sound, len(text))
        document, tensors = unpack(sound)
        document["parts"][name] = document["parts"].pop("policy")
        document["tensors"][0]["place"] = name
        yield "part " + name[:30], pack(document, tensors)
    for mode, label in (
        (stat.S_IFLNK, "link"),
        (stat.S_IFIFO, "pipe"),
        (stat.S_IFDIR, "folder"),
        (stat.S_IFBLK, "disk"),
    ):
        info = _info("tensors/000000.bin")
        info.create_system, info.external_attr = 3, (mode | 0o777) << 16
        yield label, _zip([(_info("metadata.json"), text), (info, b"/etc/passwd")], sound, len(text))
    for old in (b"metadata.json", b"tensors/000000.bin"):
        yield "same length " + old.decode(), redigest(sound.replace(old, (b"../" * 9)[: len(old)]))


def _shapes(sound: bytes, generator: random.Random) -> Files:
    shapes: List[Any] = [[2**63], [2**62, 4], [2**40] * 3, [2**31], [10**10], [-1], [-(2**63), -1], [0, 2**62, 2**62]]
    shapes += [
        [2**62] * 5000,
        [1] * 100,
        [1] * 5000,
        [2**31, 2**31, 0],
        [[2**40]],
        "9" * 1000,
        {"0": 5},
        [1e300],
        [True],
    ]
    for shape in shapes:
        for kind in ("tensor", "array"):
            document, tensors = unpack(sound)
            document["parts"]["more"] = {"role": "run", "class": "A", "state": {"$": kind, "index": len(tensors)}}
            document["tensors"].append({"place": "a", "dtype": "float32", "shape": shape, "sha256": "0" * 64})
            yield "{} {}".format(kind, str(shape)[:40]), pack(document, tensors + [b"\0" * 8])


def _json(sound: bytes, generator: random.Random) -> Files:
    def text(make: Callable[[], bytes]) -> Callable[[], bytes]:
        return lambda: _with_text(sound, make())

    for levels in (100, 127, 200, 1000, 100_000, 5_000_000):
        yield "lists {}".format(levels), text(lambda levels=levels: b"[" * levels + b"]" * levels)
        yield "objects {}".format(levels), text(lambda levels=levels: b'{"a":' * levels + b"0" + b"}" * levels)
    for levels in (30, 60):
        value: Any = 0
        for _ in range(levels):
            value = {"$": "tuple", "items": [value]}
        yield "tuples {}".format(levels), _with_state(sound, value)
    # Brackets in a text hide how deep the lists behind it are.
    yield "hidden depth", text(lambda: b'["' + b"]" * 90_000 + b'",' + b"[" * 90_000)
    for count in (100_000, 190_000, 249_000, 2_000_000):
        for label, item in (("zeros", b"0,"), ("lists", b"[],"), ("objects", b'{"a":0},'), ("texts", b'"ab",')):
            number = count // 2 if label in ("lists", "objects") else count
            make = functools.partial(lambda item, number: b"[" + item * number + b"0]", item, number)
            yield "{} {}".format(label, count), text(make)
        yield "keys {}".format(count), text(functools.partial(_many_keys, count))
    yield "long text", text(lambda: b'"' + b"a" * 20_000_000 + b'"')
    yield "escapes", text(lambda: b'"' + b"\\ud83d\\ude00" * 1_000_000 + b'"')
    yield "open text", text(lambda: b'"' + b"\\" * 9_999_999)
    for digits in (25, 5_000, 10_000_000):
        yield "digits {}".format(digits), text(lambda digits=digits: b"9" * digits)
        yield "fraction {}".format(digits), text(lambda digits=digits: b"0." + b"9" * digits)
        make = functools.partial(lambda digits: b'{"$": "int", "value": "0x' + b"f" * digits + b'"}', digits)
        yield "hexadecimal {}".format(digits), text(make)
    for value in (
        b"NaN",
        b"Infinity",
        b"1e999999",
        b"-1e999999",
        b"1e-999999",
        b"\xff\xfe",
        b"",
        b"\0",
        b"nul",
        b"'a'",
    ):
        yield "value {!r}".format(value), _with_text(sound, value)
    entry = b'{"place":"a","dtype":"bool","shape":[0],"sha256":"0"},'
    head = b'{"format":"AquaML checkpoint 2","metadata":{},"parts":{},"tensors":['
    for count in (40_000, 90_000):
        make = functools.partial(lambda count: pack(head + (entry * count)[:-1] + b"]}", []), count)
        yield "tensors {}".format(count), make


def _many_keys(count: int) -> bytes:
    return b"{" + b",".join(b'"k%d":0' % number for number in range(count)) + b"}"


def _with_text(sound: bytes, text: bytes) -> bytes:
    document, tensors = unpack(sound)
    document["parts"]["more"] = {"role": "run", "class": "A", "state": "HERE"}
    return pack(json.dumps(document).encode("ascii").replace(b'"HERE"', text), tensors)


def _spaces(sound: bytes, generator: random.Random) -> Files:
    for side in ("observations", "actions"):
        for field, value in (
            ("shape", [2**40]),
            ("shape", [10**9]),
            ("shape", [2**63]),
            ("shape", [-1]),
            ("shape", []),
            ("sizes", [2**62]),
            ("dtype", "object"),
            ("kind", "os.system"),
            ("name", "../" + CANARY),
            ("low", [0.0] * 100_000),
            ("native_shape", [2**40]),
        ):
            document, tensors = unpack(sound)
            spec = document["metadata"]["spaces"][side]["specs"][0]
            spec[field] = value
            if field == "shape":
                spec["native_shape"] = value
            yield "{} {} {}".format(side, field, str(value)[:20]), pack(document, tensors)
        document, tensors = unpack(sound)
        structure: Any = "state"
        for _ in range(100):
            structure = {"kind": "Dict", "items": {"a": structure}}
        document["metadata"]["spaces"][side]["structure"] = structure
        yield "{} nested".format(side), pack(document, tensors)


def _ends(sound: bytes, generator: random.Random) -> Files:
    place = sound.rindex(b"metadata ") + len(b"metadata ")
    stop = sound.index(b" ", place)
    for size in (0, 1, len(sound), 2**31, 2**40, 10**12 - 1):
        yield "metadata of {}".format(size), redigest(sound[:place] + str(size).encode("ascii") + sound[stop:])
    version = sound.rindex(b"AquaML checkpoint ") + len(b"AquaML checkpoint ")
    for number in (b"0", b"1", b"3", b"999999999", b"-1", b"2.0", b" 2"):
        yield "version {!r}".format(number), redigest(sound[:version] + number + sound[version + 1 :])
        both = sound.replace(b"AquaML checkpoint 2", b"AquaML checkpoint " + number)
        yield "version {!r} twice".format(number), redigest(both)
    yield "end alone", redigest(sound[-160:])
    yield "ends in a row", redigest(sound[:-160] + sound[-160:] * 1000)


def _drawn(sound: bytes, generator: random.Random) -> Files:
    for index in range(25):
        start = sound[: generator.randrange(len(sound))]
        noise = bytes(generator.randrange(256) for _ in range(2000))
        yield "noise {}".format(index), redigest(start + noise + sound[-160:])


def special_files(sound: bytes) -> Dict[str, Maker]:
    """Return what is no plain file, or a very large one of nothing."""

    def pipe(folder: Path) -> Path:
        os.mkfifo(str(folder / "pipe"))
        return folder / "pipe"

    def unix_socket(folder: Path) -> Path:
        before = os.getcwd()
        os.chdir(str(folder))
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind("socket")
        finally:
            os.chdir(before)
        return folder / "socket"

    def link(target: str) -> Maker:
        def make(folder: Path) -> Path:
            (folder / "link").symlink_to(target)
            return folder / "link"

        return make

    def sparse(gigabytes: int, head: bytes, tail: bytes) -> Maker:
        def make(folder: Path) -> Path:
            with open(str(folder / "sparse"), "wb") as file:
                file.write(head)
                file.seek(gigabytes * 2**30)
                file.write(tail)
            return folder / "sparse"

        return make

    newer = sound[-160:].replace(b"checkpoint 2", b"checkpoint 3")
    special: Dict[str, Maker] = {
        "pipe": pipe,
        "socket": unix_socket,
        "folder": lambda folder: folder,
        "nothing": _writer(b""),
        "one byte": _writer(b"P"),
        "name with a null": lambda folder: folder / "a\0b",
        "name too long": lambda folder: folder / ("a" * 3000),
        "link to nothing": link("absent"),
        "link to itself": link("link"),
        "sparse": sparse(4, b"", b""),
        "sparse with our end": sparse(4, b"", sound[-160:]),
        "sparse with beginning and end": sparse(4, sound[:-160], sound[-160:]),
        "sparse of a newer format": sparse(4, sound[:-160], newer),
    }
    for name in ("/dev/zero", "/dev/null", "/dev/stdin", "/dev/random", "/proc/self/mem", "/proc/kmsg", "/etc"):
        if os.path.exists(name):
            special[name] = lambda folder, name=name: Path(name)  # type: ignore[misc]
            special["link to " + name] = link(name)
    return {"special: " + name: make for name, make in special.items()}
