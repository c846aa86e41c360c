"""A checkpoint and the file beside it that holds its large parts: at every moment there is a pair that fits."""

import errno
import os
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
import torch

from AquaML.coordinator.checkpoint_format import Checkpoint
from AquaML.coordinator.checkpoint_store import CheckpointStore, read_with_beside
from AquaML.errors import CheckpointCorruptError, CheckpointError, CheckpointMismatchError, CheckpointWriteError
from AquaML.stateful import RUN, Part, Stateful
from benchmarks.reliability.watched_operations import WatchedOperations

FOLDER = Path("checkpoints")


class Memory(Stateful):
    """Holds a number many times."""

    own_file = True

    def __init__(self, number: int, is_saved: bool = True) -> None:
        self.rows = torch.full((300,), float(number))
        self.is_saved = is_saved

    def state_dict(self) -> Dict[str, Any]:
        return {"rows": self.rows}

    def validate_state(self, state: Dict[str, Any]) -> None:
        return

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.rows = state["rows"]


def checkpoint(number: int, is_saved: bool = True) -> Checkpoint:
    parts = {"agent/policy": {"role": "weights", "class": "A", "state": {"number": number}}}
    return Checkpoint({"number": number}, parts, [Part("agent/memory", RUN, Memory(number, is_saved))])


def numbers_of(path: Path) -> List[float]:
    """Return what a checkpoint and its memory hold; both must be whole."""
    read = read_with_beside(path)
    found = [float(read.metadata["number"])]
    if "agent/memory" in read.parts:
        rows = read.parts["agent/memory"]["state"]["rows"]
        assert rows.shape == (300,) and bool((rows == rows[0]).all())
        found.append(float(rows[0]))
    return found


def names() -> List[str]:
    return sorted(name for name in os.listdir(str(FOLDER)) if not name.startswith("."))


class Crash(BaseException):
    """The process is gone."""


class Stops(WatchedOperations):
    """Fails or crashes at one operation, before it or after it.

    Args:
        at: Which operation; None: never.
        error: What is raised.
        after: Whether the operation is performed first.
        lasts: Whether all later ones fail as well.
    """

    def __init__(self, error: Optional[BaseException] = None, after: bool = False, lasts: bool = False) -> None:
        self.at: Optional[int] = None
        self.error, self.after, self.lasts = error, after, lasts
        self.count = 0
        self.kinds: List[str] = []

    def around(self, kind: str, path: Path, perform: Any, argument: Any) -> Any:
        self.count += 1
        self.kinds.append(kind)
        hit = self.at is not None and (self.count == self.at or (self.lasts and self.count > self.at))
        if hit and not self.after:
            raise self.error  # type: ignore[misc]
        result = super().around(kind, path, perform, argument)
        if hit:
            raise self.error  # type: ignore[misc]
        return result


SAVES = {
    "last": lambda store, number: store.save_last(checkpoint(number)),
    "periodic": lambda store, number: store.save_periodic(number, checkpoint(number)),
}


def operations_of(save: Any) -> int:
    operations = Stops()
    store = CheckpointStore("counted", 1, operations)
    save(store, 1)
    before = operations.count
    save(store, 2)
    return operations.count - before


def clean(folder: Path) -> None:
    for path in folder.glob("*"):
        path.unlink()


@pytest.mark.parametrize("name", list(SAVES))
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_operation_leaves_a_pair_that_fits(name: str, after: bool) -> None:
    number_of_operations = operations_of(SAVES[name])
    # Each of the two files is created, written in pieces, brought to the disk and renamed; then the old memory goes.
    assert number_of_operations >= 11
    seen = set()
    for at in range(1, number_of_operations + 1):
        clean(FOLDER)
        operations = Stops(Crash(), after)
        store = CheckpointStore(FOLDER, 1, operations)
        SAVES[name](store, 1)
        operations.at = operations.count + at
        with pytest.raises(Crash):
            SAVES[name](store, 2)
        again = CheckpointStore(FOLDER, 1)
        again.open()
        found = numbers_of(again.latest())
        assert found in ([1.0, 1.0], [2.0, 2.0])
        seen.add(found[0])
        # Nothing that belongs to nobody is left, and every checkpoint that is left has its memory.
        stems = [item for item in names() if ".memory-" not in item]
        assert len(names()) == 2 * len(stems) and len(os.listdir(str(FOLDER))) == len(names())
        assert all(len(numbers_of(FOLDER / stem)) == 2 for stem in stems)
    assert seen == {1.0, 2.0}


@pytest.mark.parametrize("name", list(SAVES))
@pytest.mark.parametrize("code, lasts", [(errno.ENOSPC, False), (errno.ENOSPC, True), (errno.EIO, False)])
def test_a_disk_that_fails_leaves_the_pair_before_or_the_new_one(name: str, code: int, lasts: bool) -> None:
    for at in range(1, operations_of(SAVES[name]) + 1):
        clean(FOLDER)
        operations = Stops(OSError(code, os.strerror(code)), lasts=lasts)
        store = CheckpointStore(FOLDER, 1, operations)
        SAVES[name](store, 1)
        operations.at = operations.count + at
        try:
            SAVES[name](store, 2)
            failed = False
        except CheckpointWriteError:
            failed = True
        found = numbers_of(store.latest())
        assert found in ([1.0, 1.0], [2.0, 2.0]), (at, operations.kinds[-3:])
        assert failed or found == [2.0, 2.0]
        operations.at = None
        # The next save goes well, and leaves one pair.
        SAVES[name](store, 3)
        assert numbers_of(store.latest()) == [3.0, 3.0]
        store.open()
        assert len(names()) == 2 or (lasts and len(names()) <= 4)


def test_what_lies_beside_goes_with_its_checkpoint() -> None:
    store = CheckpointStore(FOLDER, keep=2)
    for number in range(1, 5):
        store.save_periodic(number, checkpoint(number))
    store.save_last(checkpoint(5))
    store.save_last(checkpoint(6))
    assert [name.split(".")[0] for name in names()] == ["last", "last", "step_3", "step_3", "step_4", "step_4"]
    assert numbers_of(store.latest()) == [6.0, 6.0]
    store.save_best(checkpoint(7))
    # The best one has no memory, so it is no exact place to go on from while there is one.
    assert numbers_of(FOLDER / "best.aqua") == [7.0] and numbers_of(store.latest()) == [6.0, 6.0]


def test_a_checkpoint_that_cannot_be_read_now_keeps_its_memory() -> None:
    """A disk that is away for a moment must not cost what would be whole again afterwards."""
    store = CheckpointStore(FOLDER, keep=2)
    store.save_last(checkpoint(1))
    content = (FOLDER / "last.aqua").read_bytes()
    (FOLDER / "last.aqua").write_bytes(b"unreadable")
    CheckpointStore(FOLDER, keep=2).open()
    (FOLDER / "last.aqua").write_bytes(content)
    assert numbers_of(FOLDER / "last.aqua") == [1.0, 1.0]


def test_an_old_checkpoint_that_cannot_be_removed_keeps_its_memory() -> None:
    class Stubborn(WatchedOperations):
        def remove(self, path: Path) -> None:
            if path.name == "step_1.aqua":
                raise OSError(errno.EBUSY, "in use")
            super().remove(path)

    store = CheckpointStore(FOLDER, 1, Stubborn())
    for number in (1, 2):
        store.save_periodic(number, checkpoint(number))
    assert numbers_of(FOLDER / "step_1.aqua") == [1.0, 1.0]


def test_a_memory_that_is_not_to_be_saved_leaves_no_file_and_takes_the_old_one_away() -> None:
    store = CheckpointStore(FOLDER, keep=2)
    store.save_last(checkpoint(1))
    store.save_last(checkpoint(2, is_saved=False))
    assert names() == ["last.aqua"] and numbers_of(store.latest()) == [2.0]


@pytest.mark.parametrize(
    "name, kind", [("../other.aqua", CheckpointCorruptError), (3, CheckpointCorruptError), ("", CheckpointCorruptError)]
)
def test_a_name_that_leads_elsewhere_is_refused(name: Any, kind: Any) -> None:
    store = CheckpointStore(FOLDER, keep=2)
    store.save_last(Checkpoint({"number": 1, "beside": name}, checkpoint(1).parts))
    with pytest.raises(kind, match="as the file beside it"):
        read_with_beside(FOLDER / "last.aqua")


def test_files_of_two_saves_are_no_pair() -> None:
    store = CheckpointStore(FOLDER, keep=5)
    store.save_last(checkpoint(1))
    (first,) = FOLDER.glob("last.memory-*.aqua")
    older = first.read_bytes()
    store.save_last(checkpoint(2))
    (second,) = FOLDER.glob("last.memory-*.aqua")
    second.write_bytes(older)
    with pytest.raises(CheckpointMismatchError, match="was not written together with"):
        read_with_beside(FOLDER / "last.aqua")
    second.write_bytes(older[:-1])
    with pytest.raises(CheckpointError):
        read_with_beside(FOLDER / "last.aqua")
