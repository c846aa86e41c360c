"""What a lock answers where it cannot be had or cannot be made."""

import errno
import gc
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from AquaML.coordinator.run_folder import RunFolder
from AquaML.coordinator.run_lock import LOCK_FILE, RunLock
from AquaML.errors import RunFolderInUseError, TrainerError

unix = pytest.mark.skipif(os.name == "nt", reason="Windows locks by another call")


def refuse(number: int) -> Any:
    def lock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return lock


@unix
def test_a_file_system_without_locks_is_told_and_used_all_the_same(monkeypatch: Any, log_lines: list) -> None:
    import fcntl

    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    lock = RunLock(Path("."))
    lock.acquire()
    lock.release()
    assert [line for line in log_lines if line.startswith("WARNING") and "this file system has no locks" in line]


@unix
def test_a_broken_disk_is_not_another_run(monkeypatch: Any) -> None:
    import fcntl

    monkeypatch.setattr(fcntl, "flock", refuse(errno.EIO))
    with pytest.raises(
        TrainerError, match="Cannot lock the run folder: 'run.lock'.*choose another run_directory"
    ) as told:
        RunLock(Path(".")).acquire()
    assert not isinstance(told.value, RunFolderInUseError)


def test_a_folder_that_takes_no_lock_file() -> None:
    os.mkdir(LOCK_FILE)
    with pytest.raises(TrainerError, match="Cannot lock the run folder"):
        RunLock(Path(".")).acquire()
    with pytest.raises(TrainerError, match="absent"):
        RunLock(Path("absent")).acquire()


def test_releasing_twice_or_without_a_lock_is_no_error() -> None:
    lock = RunLock(Path("."))
    lock.release()
    for _ in range(2):
        lock.acquire()
        lock.release()
        lock.release()


def test_a_refused_claim_leaves_no_file_open_and_the_lock_where_it_is() -> None:
    first = RunLock(Path("."))
    first.acquire()
    for _ in range(3):
        with pytest.raises(RunFolderInUseError):
            RunLock(Path(".")).acquire()
    gc.collect()
    with pytest.raises(RunFolderInUseError):
        RunLock(Path(".")).acquire()
    first.release()
    second = RunLock(Path("."))
    second.acquire()
    second.release()


@pytest.mark.skipif(sys.platform != "linux", reason="forking is safe on Linux alone")
def test_the_lock_stays_with_the_parent_when_a_forked_child_ends() -> None:
    folder = RunFolder("runs", "a")
    path = folder.claim()
    child = multiprocessing.get_context("fork").Process(target=len, args=((),))
    child.start()
    child.join()
    assert child.exitcode == 0
    with pytest.raises(RunFolderInUseError):
        RunFolder.existing(path).claim()
    folder.release()
