"""A crash at any operation on files, and a power loss at any moment, leave what was acknowledged."""

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from benchmarks.reliability import crash_points
from benchmarks.reliability.simulated_disk import Record, RecordingOperations, SimulatedDisk


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_every_crash_is_recovered_from() -> None:
    figures = crash_points.run(0, seed=0)
    assert figures.problems == []
    # Three folders and their entries; five operations for each of eleven saves; three old checkpoints removed.
    assert figures.operations == 3 * 2 + 11 * 5 + 3
    assert figures.crashes == 2 * figures.operations + 11
    assert figures.crashes_not_recovered == 0
    assert figures.most_leftovers == 1 and figures.leftovers_after_restart == 0


def test_every_state_after_a_power_loss_is_recovered_from() -> None:
    figures = crash_points.run(200, seed=0, crashes=False)
    assert figures.problems == [] and figures.power_losses_not_recovered == 0
    assert figures.power_losses == 200


class NoFileSync(RecordingOperations):
    def sync(self, file: BinaryIO) -> None:
        return


class NoFolderSync(RecordingOperations):
    def sync_folder(self, folder: Path) -> None:
        return


class InPlace(RecordingOperations):
    """Renames before the content is on the disk."""

    def sync(self, file: BinaryIO) -> None:
        self.file = file

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self.around("sync", target, lambda: None, None)


@pytest.mark.parametrize("operations", [NoFileSync, NoFolderSync, InPlace])
def test_without_either_sync_or_in_another_order_a_power_loss_loses_something(operations: type) -> None:
    figures = crash_points.run(150, seed=0, operations=operations, crashes=False)
    assert figures.power_losses_not_recovered > 0


def states_after(*records: Record) -> set:
    import random

    disk = SimulatedDisk(Path("root"))
    for record in records:
        disk.apply(record)
    return {
        tuple(sorted((path.name, content) for path, content in state.items()))
        for state in disk.states_after_power_loss(random.Random(0))
    }


def test_the_simulated_disk_loses_what_it_may_and_nothing_else() -> None:
    a, b, root = Path("root/a"), Path("root/b"), Path("root")
    create, write, sync = Record("create", a), Record("write", a, None, b"xy"), Record("sync", a)
    nothing, empty, zeros, whole = (), (("a", b""),), (("a", b"\0\0"),), (("a", b"xy"),)
    assert states_after(create) == {nothing, empty}
    assert states_after(create, write) == {nothing, empty, zeros, whole}
    assert states_after(create, write, sync) == {nothing, whole}
    folder = Record("sync_folder", root)
    assert states_after(create, write, folder) == {empty, zeros, whole}
    assert states_after(create, write, sync, folder) == {whole}
    rename = Record("replace", a, b)
    assert states_after(create, write, sync, folder, rename) == {whole, (("b", b"xy"),)}
    assert states_after(create, write, sync, folder, rename, folder) == {(("b", b"xy"),)}
    assert states_after(create, write, sync, folder, Record("remove", a)) == {whole, nothing}


def test_blocks_reach_the_simulated_disk_in_any_order() -> None:
    content = b"1" * 512 + b"2" * 512 + b"3" * 10
    states = states_after(Record("create", Path("root/a")), Record("write", Path("root/a"), None, content))
    left = {state[0][1] for state in states if state}
    assert {content, b"", bytes(len(content)), content[:512], content[:1024]} <= left
    assert bytes(512) + content[512:] in left
