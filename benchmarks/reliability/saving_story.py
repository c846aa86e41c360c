"""A short life of a run's folder: made new, first checkpoints, replaced ones, old ones removed."""

from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Optional

import torch

from AquaML.coordinator.checkpoint_format import Checkpoint, read_checkpoint
from AquaML.coordinator.checkpoint_store import BEST, CheckpointStore
from AquaML.coordinator.file_operations import FileOperations
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER, RunFolder
from AquaML.errors import CheckpointError

NAME = "run"
_KEEP = 2
_VALUES = 1500
ORDER = "lbppplbpblp"
"""Last, best or periodic, one letter for each save."""


class Acknowledged(NamedTuple):
    """The newest saves that have returned; 0: none.

    Attributes:
        latest: Number of the newest save of any kind.
        best: Number of the newest save of the best.
    """

    latest: int = 0
    best: int = 0


def checkpoint(number: int) -> Checkpoint:
    """Return a checkpoint of about 7 kB whose content tells its number."""
    state = {"weights": torch.full((_VALUES,), float(number)), "steps": number}
    return Checkpoint(
        {"kind": "run", "number": number}, {"agent": {"role": "weights", "class": "None", "state": state}}
    )


def tell_story(root: Path, operations: FileOperations, order: str = ORDER) -> Iterator[Acknowledged]:
    """Live through it, and yield what is acknowledged after every save.

    Args:
        root: Where runs are collected; need not exist.
        operations: How files are touched.
        order: What is saved, one letter each.
    """
    folder = RunFolder(root, NAME, operations)
    path = folder.claim()
    try:
        store = CheckpointStore(path / CHECKPOINT_FOLDER, _KEEP, operations)
        store.open()
        acknowledged = Acknowledged()
        for number, kind in enumerate(order, 1):
            save(store, kind, number)
            acknowledged = Acknowledged(number, number if kind == "b" else acknowledged.best)
            yield acknowledged
    finally:
        folder.release()


def save(store: CheckpointStore, kind: str, number: int) -> Path:
    """Save a numbered checkpoint as the last, the best or a periodic one."""
    if kind == "p":
        return store.save_periodic(number, checkpoint(number))
    saving: Callable[[Checkpoint], Path] = store.save_best if kind == "b" else store.save_last
    return saving(checkpoint(number))


def recovery_problem(root: Path, acknowledged: Acknowledged) -> str:
    """Return what is lost in a folder after a crash; empty if nothing is.

    Args:
        root: Where runs are collected.
        acknowledged: What must be there, or something newer.
    """
    store = CheckpointStore(root / NAME / CHECKPOINT_FOLDER, _KEEP)
    for kind, least, found in (
        ("latest", acknowledged.latest, _latest(store)),
        ("best", acknowledged.best, store.best()),
    ):
        number = 0 if found is None else _number(found)
        if number < least:
            return "{}: {} of {}".format(kind, number, least)
    if (store.folder / BEST).exists() and store.best() is None:
        return "best: does not load"
    return ""


def _latest(store: CheckpointStore) -> Optional[Path]:
    try:
        return store.latest()
    except CheckpointError:
        return None


def _number(path: Path) -> int:
    """Return the number of a checkpoint whose content agrees with it, else -1."""
    read = read_checkpoint(path)
    number, state = read.metadata["number"], read.parts["agent"]["state"]
    sound = state["steps"] == number and torch.equal(state["weights"], torch.full((_VALUES,), float(number)))
    return number if sound else -1
