"""Trainings that are killed while they save lose nothing that was acknowledged."""

import os
from pathlib import Path
from typing import BinaryIO

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork and no SIGKILL")


def test_no_kill_loses_an_acknowledged_checkpoint() -> None:
    from benchmarks.reliability import kills

    figures = kills.run(30, seed=0, cold=1)
    assert figures.kills == 31 and figures.cold_kills == 1
    # About seven of ten where the disk takes its time; a disk in memory is done before the kill arrives.
    assert figures.inside_a_save >= 4
    assert (figures.lost, figures.not_loadable, figures.not_resumed) == (0, 0, 0)
    assert figures.most_leftovers == 1 and figures.leftovers_after_restart == 0


def test_the_campaign_notices_files_that_are_written_in_place() -> None:
    from benchmarks.reliability import kills

    class InPlace(kills.TellingOperations):
        """Opens the checkpoint itself instead of a temporary file, as other libraries do."""

        def create(self, path: Path) -> BinaryIO:
            super().create(path).close()
            return open(str(path.with_name("last.aqua")), "wb", buffering=0)

        def replace(self, source: Path, target: Path) -> None:
            source.unlink()

    figures = kills.run(12, seed=1, operations=InPlace, cold=0)
    assert figures.lost > 0 or figures.not_loadable > 0
