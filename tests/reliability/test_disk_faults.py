"""A disk that is full, broken or read-only costs a save, never a checkpoint that was there, nor the training."""

from pathlib import Path
from typing import Any, BinaryIO

import pytest

from benchmarks.reliability import disk_faults, real_disks


def test_faults_of_saves_cost_nothing_else() -> None:
    figures = disk_faults.run(28, seed=0, system=False)
    assert figures.problems == []
    assert figures.faults >= 18
    assert (figures.changed, figures.stopped, figures.wrong_warnings) == (0, 0, 0)
    assert (figures.next_save_failed, figures.leftovers) == (0, 0)
    assert figures.beginnings >= 20 and figures.beginnings_not_raised == 0
    assert figures.endings == 5 and figures.endings_not_raised == 0


class InPlace(disk_faults.FaultyOperations):
    """Overwrites the checkpoint itself, as other libraries do."""

    def create(self, path: Path) -> BinaryIO:
        super().create(path).close()
        return open(str(path.with_name("last.aqua")), "wb", buffering=0)


def test_the_campaign_notices_checkpoints_that_are_overwritten() -> None:
    figures = disk_faults.DiskFigures()
    fault = disk_faults.Fault("last", 1, "ENOSPC", disk_faults.ONCE)
    disk_faults.save_with(Path("overwritten"), fault, InPlace(), figures)
    assert figures.faults == 1 and figures.changed == 1
    figures = disk_faults.DiskFigures()
    disk_faults.save_with(Path("whole"), fault, disk_faults.FaultyOperations(), figures)
    assert figures.faults == 1 and figures.problems == []


@pytest.mark.parametrize(
    "trouble", [real_disks.with_small_files, real_disks.on_full_disk, real_disks.on_read_only_disk]
)
def test_disks_that_the_system_makes_bad(trouble: Any, tmp_path: Path) -> None:
    problem = trouble(tmp_path)
    if problem is None:
        pytest.skip("this system has no limit on files, or does not permit a file system of one's own")
    assert problem == ""
