"""One owner of a run folder at a time; nothing outside the folder of runs; bad places are told at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from AquaML.coordinator.run_folder import RunFolder
from AquaML.coordinator.run_lock import LOCK_FILE
from AquaML.errors import RunFolderInUseError
from benchmarks.reliability import directories


def test_starts_names_and_places() -> None:
    figures = directories.run(10, seed=0)
    assert figures.problems == []
    assert figures.rounds == (10 if hasattr(os, "fork") else 0)
    assert (figures.rounds_without_one_owner, figures.rounds_with_shared_names) == (0, 0)
    assert figures.stale_locks_in_the_way == 0
    assert figures.hostile_names == 200 and figures.names_outside == 0
    assert figures.bad_places >= 4 and figures.bad_places_not_told == 0


def test_the_names_are_as_hostile_as_they_should_be(tmp_path: Path) -> None:
    names = directories.hostile_names(200, seed=0)
    assert len(names) == 200
    root = tmp_path / "above" / "runs"
    outside = [
        name for name in names if "\0" not in name and root not in Path(os.path.abspath(str(root / name))).parents
    ]
    assert len(outside) >= 40


def test_who_holds_the_lock_is_told() -> None:
    first, second = RunFolder("runs", "a"), RunFolder.existing(RunFolder("runs", "a").create())
    second.claim()
    first.path = second.path
    with pytest.raises(RunFolderInUseError, match=r"'runs.a' is in use by process {} on ".format(os.getpid())):
        first.claim()
    second.release()
    assert first.claim() == second.path
    first.release()
    assert (Path("runs/a") / LOCK_FILE).is_file()


def test_the_lock_of_another_process_ends_with_it() -> None:
    path = RunFolder("runs", "a").create()
    script = "import sys; from AquaML.coordinator.run_folder import RunFolder; f = RunFolder.existing(sys.argv[1]); "
    script += "f.claim(); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(path.resolve())], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None and holder.stdout.readline().strip() == b"held"
    folder = RunFolder.existing(path)
    with pytest.raises(RunFolderInUseError, match="is in use by process {} ".format(holder.pid)):
        folder.claim()
    holder.kill()
    holder.communicate()
    folder.claim()
    folder.release()


def test_a_lock_file_of_any_content_is_no_obstacle() -> None:
    path = RunFolder("runs", "a").create()
    for content in (b"", b"[1, 2]", b"\xff\xfe garbage", b'{"process": 1}'):
        (path / LOCK_FILE).write_bytes(content)
        folder = RunFolder.existing(path)
        folder.claim()
        folder.release()
