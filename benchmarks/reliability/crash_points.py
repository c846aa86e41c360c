"""Crashes at every operation on files that saving makes, and every state of the disk after a power loss.

First a process ends before, in the middle of, and after each single operation of a run's life; what it leaves must
give the newest and the best checkpoint that were acknowledged, or newer ones. Then the same life is recorded, and
after each of its operations the power fails on a simulated disk.
"""

import dataclasses
import hashlib
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple, Union

from AquaML.coordinator.checkpoint_store import CheckpointStore
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER
from benchmarks.reliability.children import AVAILABLE, fork, tell
from benchmarks.reliability.saving_story import (
    NAME,
    ORDER,
    Acknowledged,
    recovery_problem,
    save,
    tell_story,
)
from benchmarks.reliability.simulated_disk import RecordingOperations, SimulatedDisk, State, put
from benchmarks.reliability.tiny_run import leftovers
from benchmarks.reliability.watched_operations import WatchedOperations

MOMENTS = ("before", "inside", "after")
_LATEST, _BEST = b"l", b"b"
_CRASHED = 9


@dataclasses.dataclass
class CrashFigures:
    """What the crashes showed.

    Attributes:
        operations: Operations of the life of a run's folder.
        crashes: Processes that ended at one of them.
        crashes_not_recovered: Those after which something acknowledged was lost, or saving failed.
        most_leftovers: Temporary files after a crash, at most.
        leftovers_after_restart: Those still there after the next start.
        power_losses: Different states of the disk after a power loss.
        power_losses_not_recovered: Those in which something acknowledged was lost.
        problems: The first few problems in words.
    """

    operations: int = 0
    crashes: int = 0
    crashes_not_recovered: int = 0
    most_leftovers: int = 0
    leftovers_after_restart: int = 0
    power_losses: int = 0
    power_losses_not_recovered: int = 0
    problems: List[str] = dataclasses.field(default_factory=list)


class CrashingOperations(WatchedOperations):
    """Ends the process at one operation.

    Args:
        number: Which one, counted from 0.
        moment: Before it, inside it (a write stops half way), or after it.
    """

    def __init__(self, number: int, moment: str) -> None:
        self._left = number
        self._moment = moment

    def around(
        self, kind: str, path: Path, perform: Callable[..., Any], argument: Union[Path, memoryview, None]
    ) -> Any:
        """Perform an operation, or end there."""
        now = self._left == 0
        self._left -= 1
        if now and self._moment == "before":
            os._exit(_CRASHED)
        if now and self._moment == "inside" and isinstance(argument, memoryview):
            perform(argument[: len(argument) // 2])
            os._exit(_CRASHED)
        # What a process has written outlives it in the system's memory; waiting for the disk changes nothing.
        result = None if kind in ("sync", "sync_folder") else super().around(kind, path, perform, argument)
        if now:
            os._exit(_CRASHED)
        return result


def run(
    count: int, seed: int, operations: Callable[[], RecordingOperations] = RecordingOperations, crashes: bool = True
) -> CrashFigures:
    """Crash at every operation, then lose power in ``count`` ways.

    Args:
        count: Different states of the disk after a power loss; as many orders of saving are lived through as it takes.
        seed: Of the orders, and of what is left of unsynced files.
        operations: Makes the operations that are recorded for the power losses.
        crashes: False: only the power losses.
    """
    figures = CrashFigures()
    with tempfile.TemporaryDirectory() as place:
        if crashes and AVAILABLE:
            _crash_everywhere(Path(place) / "crashes", figures)
        randomness, order = random.Random(seed), ORDER
        while figures.power_losses < count:
            _lose_power(Path(place) / "power", figures, count, randomness, operations(), order)
            order = "".join(randomness.choice("lbp") for _ in ORDER)
    return figures


# ---------------------------------------------------------------------- crashes


def _crash_everywhere(place: Path, figures: CrashFigures) -> None:
    place.mkdir()
    recording = RecordingOperations()
    for _ in tell_story(place / "whole", recording):
        pass
    kinds = [record.kind for record in recording.records]
    figures.operations = len(kinds)
    for number, kind in enumerate(kinds):
        for moment in MOMENTS if kind == "write" else ("before", "after"):
            root = place / "{}_{}".format(number, moment)
            acknowledged = _crash(root, CrashingOperations(number, moment))
            _examine(root, acknowledged, figures, "crash {} {} ({})".format(moment, number, kind))
            shutil.rmtree(str(root), ignore_errors=True)


def _crash(root: Path, operations: CrashingOperations) -> Acknowledged:
    def live(descriptor: int) -> None:
        for acknowledged in tell_story(root, operations):
            tell(descriptor, _LATEST, acknowledged.latest)
            tell(descriptor, _BEST, acknowledged.best)

    child = fork(live)
    if child.finish() != _CRASHED:
        raise RuntimeError("the process did not end where it should")
    numbers = dict([(_LATEST, 0), (_BEST, 0)] + [(event.kind, event.number) for event in child.events])
    return Acknowledged(numbers[_LATEST], numbers[_BEST])


def _examine(root: Path, acknowledged: Acknowledged, figures: CrashFigures, name: str) -> None:
    figures.crashes += 1
    figures.most_leftovers = max(figures.most_leftovers, len(leftovers(root)))
    problem = recovery_problem(root, acknowledged)
    store = CheckpointStore(root / NAME / CHECKPOINT_FOLDER, 2)
    store.open()
    figures.leftovers_after_restart += len(leftovers(root))
    save(store, "l", acknowledged.latest + 2)
    problem = problem or recovery_problem(root, Acknowledged(acknowledged.latest + 2, acknowledged.best))
    if problem:
        figures.crashes_not_recovered += 1
        _note(figures, "{}: {}".format(name, problem))


def _note(figures: CrashFigures, problem: str) -> None:
    if len(figures.problems) < 5:
        figures.problems.append(problem)


# ---------------------------------------------------------------------- power losses


def _lose_power(
    place: Path,
    figures: CrashFigures,
    count: int,
    randomness: random.Random,
    recording: RecordingOperations,
    order: str,
) -> None:
    place.mkdir()
    milestones: Dict[int, Acknowledged] = {}
    root = place / "runs"
    for acknowledged in tell_story(root, recording, order):
        milestones[len(recording.records)] = acknowledged
    states = list(_different_states(recording, place, milestones, randomness))
    most = count - figures.power_losses
    for number, acknowledged, state in states if len(states) <= most else randomness.sample(states, most):
        copy = place / "state"
        copy.mkdir()
        put(state, place, copy)
        problem = recovery_problem(copy / "runs", acknowledged)
        figures.power_losses += 1
        if problem:
            figures.power_losses_not_recovered += 1
            _note(figures, "power lost after operation {}: {}".format(number, problem))
        shutil.rmtree(str(copy))
    shutil.rmtree(str(place))


def _different_states(
    recording: RecordingOperations, place: Path, milestones: Dict[int, Acknowledged], randomness: random.Random
) -> Iterator[Tuple[int, Acknowledged, State]]:
    disk = SimulatedDisk(place)
    acknowledged: Acknowledged = Acknowledged()
    seen: Set[bytes] = set()
    for number in range(len(recording.records) + 1):
        if number:
            disk.apply(recording.records[number - 1])
        acknowledged = milestones.get(number, acknowledged)
        for state in disk.states_after_power_loss(randomness):
            key = _digest(state, acknowledged)
            if key not in seen:
                seen.add(key)
                yield number, acknowledged, state


def _digest(state: State, acknowledged: Optional[Acknowledged]) -> bytes:
    digest = hashlib.sha256(repr(acknowledged).encode("utf-8"))
    for path in sorted(state):
        content = state[path]
        digest.update(str(path).encode("utf-8") + (b"/" if content is None else hashlib.sha256(content).digest()))
    return digest.digest()
