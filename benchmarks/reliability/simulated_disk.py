"""A disk in memory that loses power: from the recorded operations to every state that it may be left in.

The rules are those of "All File Systems Are Not Created Equal" (Pillai et al., OSDI 2014), as strict as POSIX allows:
what was written since the last sync of a file may be there or not, in part, and in any order of its blocks; an entry
made, renamed or removed since the last sync of its folder may be there or not, whatever happened to others; a rename is
there or not, never by halves. What was synced stays.
"""

import random
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from benchmarks.reliability.watched_operations import WatchedOperations

BLOCKS = (512, 4096)
_MOST_SUBSETS = 64


class Record(NamedTuple):
    """One operation that was performed.

    Attributes:
        kind: As in :meth:`WatchedOperations.around`.
        path: The file or folder.
        target: The new name in a replacement.
        data: What was written.
    """

    kind: str
    path: Path
    target: Optional[Path] = None
    data: bytes = b""


class RecordingOperations(WatchedOperations):
    """Performs the operations and writes down those that succeeded."""

    def __init__(self) -> None:
        self.records: List[Record] = []

    def around(
        self, kind: str, path: Path, perform: Callable[..., Any], argument: Union[Path, memoryview, None]
    ) -> Any:
        """Perform an operation and record it."""
        result = super().around(kind, path, perform, argument)
        target = argument if isinstance(argument, Path) else None
        data = bytes(argument[:result]) if isinstance(argument, memoryview) else b""
        self.records.append(Record(kind, path, target, data))
        return result


class _File:
    """Content on the disk, and what is only in memory."""

    def __init__(self) -> None:
        self.durable = b""
        self.pending = b""

    def whole(self) -> bytes:
        """Return what a running system reads."""
        return self.durable + self.pending


class _Entry(NamedTuple):
    """A change of a folder: names that go, and what a name then stands for; a file that is None is a folder."""

    removed: Optional[Path]
    made: Optional[Path]
    file: Optional[_File]


Tree = Dict[Path, Optional[_File]]
State = Dict[Path, Optional[bytes]]
"""Path to content; None: a folder."""


class SimulatedDisk:
    """The disk after some operations.

    Args:
        root: The folder above everything recorded, which is there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable: Tree = {}
        self._pending: Dict[Path, List[_Entry]] = {}
        self._open: Tree = {}

    def apply(self, record: Record) -> None:
        """Take one more operation."""
        if record.kind == "write":
            self._file(record.path).pending += record.data
        elif record.kind == "sync":
            file = self._file(record.path)
            file.durable, file.pending = file.whole(), b""
        elif record.kind == "sync_folder":
            for entry in self._pending.pop(record.path, []):
                _change(self._durable, entry)
        else:
            entry = self._entry(record)
            _change(self._open, entry)
            self._pending.setdefault(record.path.parent, []).append(entry)

    def _file(self, path: Path) -> _File:
        file = self._open[path]
        assert file is not None
        return file

    def _entry(self, record: Record) -> _Entry:
        if record.kind == "create":
            return _Entry(None, record.path, _File())
        if record.kind == "make_folder":
            return _Entry(None, record.path, None)
        if record.kind == "remove":
            return _Entry(record.path, None, None)
        return _Entry(record.path, record.target, self._open[record.path])

    def states_after_power_loss(self, randomness: random.Random) -> Iterator[State]:
        """Yield states that the disk may be in when power is lost now; some may be equal.

        Args:
            randomness: Chooses blocks, and subsets where there are too many to take all.
        """
        pending = [entry for entries in self._pending.values() for entry in entries]
        for chosen in _subsets(len(pending), randomness):
            tree = dict(self._durable)
            for entry, taken in zip(pending, chosen):
                if taken:
                    _change(tree, entry)
            tree = {path: file for path, file in tree.items() if self._is_reachable(path, tree)}
            state: State = {path: None if file is None else file.whole() for path, file in tree.items()}
            yield state
            for path, file in tree.items():
                if file is not None and file.pending:
                    for content in _damaged(file, randomness):
                        yield _with(state, path, content)

    def _is_reachable(self, path: Path, tree: Tree) -> bool:
        while path.parent != self._root:
            path = path.parent
            if path not in tree:
                return False
        return True


def _with(state: State, path: Path, content: bytes) -> State:
    changed = dict(state)
    changed[path] = content
    return changed


def _change(tree: Tree, entry: _Entry) -> None:
    if entry.removed is not None:
        tree.pop(entry.removed, None)
    if entry.made is not None:
        tree[entry.made] = entry.file


def _subsets(count: int, randomness: random.Random) -> Iterator[Tuple[bool, ...]]:
    """Yield every subset of a few things, or the empty one, the full one and random ones of many."""
    if 2**count <= _MOST_SUBSETS:
        for number in range(2**count):
            yield tuple(bool(number >> index & 1) for index in range(count))
        return
    yield (False,) * count
    yield (True,) * count
    for _ in range(_MOST_SUBSETS):
        yield tuple(randomness.random() < 0.5 for _ in range(count))


def _damaged(file: _File, randomness: random.Random) -> Iterator[bytes]:
    """Yield what may be left of a file that was not synced: lost, shortened, zeroed, its blocks in any order."""
    start, size = len(file.durable), len(file.whole())
    yield file.durable
    yield file.durable + bytes(size - start)
    for block in BLOCKS:
        blocks = list(range(start // block, (size + block - 1) // block))
        middle = blocks[len(blocks) // 2] * block
        yield file.whole()[: max(start, middle)]
        yield file.whole()[: max(start, (size - 1) // block * block)]
        for present in ([False] + [True] * (len(blocks) - 1), [randomness.random() < 0.5 for _ in blocks]):
            content = bytearray(file.whole())
            for index, kept in zip(blocks, present):
                if not kept:
                    first, last = max(start, index * block), min(size, (index + 1) * block)
                    content[first:last] = bytes(last - first)
            yield bytes(content)


def put(state: State, root: Path, place: Path) -> None:
    """Write a state below ``place`` as it is below ``root``."""
    for path in sorted(state, key=lambda item: len(item.parts)):
        target = place / path.relative_to(root)
        content = state[path]
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.write_bytes(content)
