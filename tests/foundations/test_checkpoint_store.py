"""Which checkpoint is the newest, which are kept, and what a damaged one costs."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from AquaML.coordinator.checkpoint_format import Checkpoint, read_checkpoint
from AquaML.coordinator.checkpoint_store import CheckpointStore
from AquaML.coordinator.file_operations import FileOperations
from AquaML.errors import CheckpointNotFoundError, CheckpointWriteError
from benchmarks.reliability.watched_operations import WatchedOperations

FOLDER = Path("checkpoints")


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint({"step": step}, {"agent": {"role": "weights", "class": "A", "state": {"name": "x" * 200}}})


def step_of(path: Path) -> Any:
    return read_checkpoint(path).metadata["step"]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_the_order_of_writing_decides_and_neither_clock_nor_step() -> None:
    store = CheckpointStore(FOLDER, keep=5)
    for step in (300, 100, 200):
        path = store.save_periodic(step, checkpoint(step))
        os.utime(str(path), (10**9 - step, 10**9 - step))
    assert step_of(store.latest()) == 200
    store.save_best(checkpoint(7))
    assert step_of(store.latest()) == 7
    # A new process goes on counting.
    again = CheckpointStore(FOLDER, keep=5)
    again.save_periodic(50, checkpoint(50))
    assert step_of(CheckpointStore(FOLDER, 5).latest()) == 50
    assert [path.name for path in again.periodic()] == [
        "step_300.aqua",
        "step_100.aqua",
        "step_200.aqua",
        "step_50.aqua",
    ]


def test_damaged_ones_are_passed_over_with_a_warning_until_none_is_left(log_lines: list) -> None:
    store = CheckpointStore(FOLDER, keep=3)
    paths = [store.save_periodic(1, checkpoint(1)), store.save_best(checkpoint(2)), store.save_last(checkpoint(3))]
    for older, path in ((2, paths[2]), (1, paths[1])):
        damage(path)
        assert step_of(store.latest()) == older
        assert [line for line in log_lines if "passed over" in line and path.name in line]
    assert store.best() is None
    damage(paths[0])
    with pytest.raises(CheckpointNotFoundError, match="no intact checkpoint in 'checkpoints'"):
        store.latest()


def test_a_save_that_failed_after_its_rename_is_older_than_the_next_one() -> None:
    class FolderFails(FileOperations):
        fails = False

        def sync_folder(self, folder: Path) -> None:
            if self.fails:
                raise OSError(errno.EIO, "broken")

    operations = FolderFails()
    store = CheckpointStore(FOLDER, 3, operations)
    store.save_best(checkpoint(1))
    operations.fails = True
    with pytest.raises(CheckpointWriteError, match="broken"):
        store.save_periodic(2, checkpoint(2))
    operations.fails = False
    store.save_best(checkpoint(3))
    assert step_of(CheckpointStore(FOLDER, 3).latest()) == 3


def test_an_old_one_goes_only_after_the_new_one_was_read_back(log_lines: list) -> None:
    class Lossy(WatchedOperations):
        """A disk that loses a byte and says nothing."""

        loses = False

        def replace(self, source: Path, target: Path) -> None:
            if self.loses:
                damage(source)
            super().replace(source, target)

    operations = Lossy()
    store = CheckpointStore(FOLDER, 1, operations)
    store.save_periodic(1, checkpoint(1))
    operations.loses = True
    store.save_periodic(2, checkpoint(2))
    assert sorted(os.listdir(str(FOLDER))) == ["step_1.aqua", "step_2.aqua"] and step_of(store.latest()) == 1
    operations.loses = False
    store.save_periodic(3, checkpoint(3))
    assert os.listdir(str(FOLDER)) == ["step_3.aqua"]


def test_damaged_periodic_ones_go_first() -> None:
    store = CheckpointStore(FOLDER, keep=2)
    for step in (1, 2):
        store.save_periodic(step, checkpoint(step))
    (FOLDER / "step_2.aqua").write_bytes(b"PK\x03\x04 torn")
    fresh = CheckpointStore(FOLDER, keep=2)
    fresh.save_periodic(3, checkpoint(3))
    assert sorted(os.listdir(str(FOLDER))) == ["step_1.aqua", "step_3.aqua"]


def test_an_old_one_that_cannot_be_removed_is_told_and_goes_later(log_lines: list) -> None:
    class Sticky(FileOperations):
        sticks = True

        def remove(self, path: Path) -> None:
            if self.sticks:
                raise PermissionError(errno.EACCES, "in use", str(path))
            super().remove(path)

    operations = Sticky()
    store = CheckpointStore(FOLDER, 1, operations)
    for step in (1, 2):
        store.save_periodic(step, checkpoint(step))
    assert len([line for line in log_lines if "Cannot remove the old checkpoint" in line and "step_1" in line]) == 1
    operations.sticks = False
    store.save_periodic(3, checkpoint(3))
    assert os.listdir(str(FOLDER)) == ["step_3.aqua"]


def test_what_is_not_finite_lies_beside_and_is_never_found() -> None:
    store = CheckpointStore(FOLDER, keep=2)
    store.save_last(checkpoint(1))
    path = store.save_not_finite(checkpoint(2))
    assert path.name == "not_finite.aqua" and step_of(path) == 2
    assert step_of(store.latest()) == 1 and store.periodic() == [] and store.best() is None


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_are_no_checkpoints() -> None:
    elsewhere = CheckpointStore("elsewhere", 1).save_last(checkpoint(9))
    FOLDER.mkdir()
    (FOLDER / "last.aqua").symlink_to(elsewhere.resolve())
    store = CheckpointStore(FOLDER, 1)
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint in 'checkpoints'"):
        store.latest()
    # A save takes the link's place and leaves alone what it led to.
    store.save_last(checkpoint(1))
    assert step_of(elsewhere) == 9 and step_of(store.latest()) == 1


def test_what_killed_processes_left_is_swept_when_the_store_is_opened() -> None:
    store = CheckpointStore(FOLDER, 1)
    store.save_last(checkpoint(1))
    (FOLDER / ".{}.tmp".format("ab" * 16)).write_bytes(b"half")
    store.open()
    assert os.listdir(str(FOLDER)) == ["last.aqua"]
