"""Disks that are full, broken or read-only, at every operation of every kind of save, inside a real training.

A tiny training saves its best, last and a periodic checkpoint at every step. At one step one save meets a fault at one
of its operations. Then every checkpoint must be as it was before that save, byte for byte (the one being replaced may
be the whole new one if only its folder could not be brought to the disk), one warning must say so, training must go on
to its end, and the next save of that kind must work. The first and the last save, without which a run is worth
nothing, must raise instead.
"""

import dataclasses
import errno
import itertools
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from loguru import logger

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER, RunFolder
from AquaML.errors import AquaMLError, CheckpointWriteError
from AquaML.learning.trainers.hooks import Hook
from benchmarks.reliability import real_disks
from benchmarks.reliability.tiny_run import digests, leftovers, tiny_trainer
from benchmarks.reliability.watched_operations import WatchedOperations

ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT")
SHORT = "short"
"""The system takes one byte less than half of each write: no fault, only more work."""
SHORT_THEN_FULL = "short, then ENOSPC"
ONCE, LASTING = "once", "lasting"
KINDS = ("best", "last", "periodic")
_STEPS = 6
_FAULT_STEP = 4
_KEEP = 2
_MOST_OPERATIONS = 7


class Fault(NamedTuple):
    """What goes wrong.

    Attributes:
        kind: Which save.
        operation: At which of its operations, from 0.
        error: Name of the error, or one of the short writes.
        duration: ``"once"``, or ``"lasting"``: all further operations of that save fail as well.
    """

    kind: str
    operation: int
    error: str
    duration: str


@dataclasses.dataclass
class DiskFigures:
    """What the faults showed.

    Attributes:
        faults: Injected faults that a save met.
        changed: Those after which a checkpoint was neither as before nor, for the one being replaced, the whole new
            one.
        stopped: Those after which training did not go on to its end.
        wrong_warnings: Those that were not told by exactly one warning.
        next_save_failed: Those after which the next save of that kind did not work.
        leftovers: Temporary files that a single fault left behind.
        beginnings: Faults while a run begins, up to its first checkpoint.
        beginnings_not_raised: Those that did not end in an error of AquaML.
        endings: Faults in the last save.
        endings_not_raised: Those that did not end in a CheckpointWriteError, or that changed another checkpoint.
        file_size_limit: Problem with a limit on the size of files; "": none, None: not tried here.
        full_disk: The same with a small file system that is full for a while.
        read_only_disk: The same with one that is read-only for a while.
        problems: The first few problems in words.
    """

    faults: int = 0
    changed: int = 0
    stopped: int = 0
    wrong_warnings: int = 0
    next_save_failed: int = 0
    leftovers: int = 0
    beginnings: int = 0
    beginnings_not_raised: int = 0
    endings: int = 0
    endings_not_raised: int = 0
    file_size_limit: Optional[str] = None
    full_disk: Optional[str] = None
    read_only_disk: Optional[str] = None
    problems: List[str] = dataclasses.field(default_factory=list)


class FaultyOperations(WatchedOperations):
    """Lets operations fail once it is armed."""

    def __init__(self) -> None:
        self.met: List[str] = []
        self._fault: Optional[Fault] = None
        self._count = 0
        self._shortened = False

    def arm(self, fault: Fault) -> None:
        """Let the fault happen, counting from the next operation on."""
        self._fault, self._count, self._shortened = fault, -1, False

    def disarm(self) -> None:
        """Let everything work again."""
        self._fault = None

    def around(
        self, kind: str, path: Path, perform: Callable[..., Any], argument: Union[Path, memoryview, None]
    ) -> Any:
        """Perform an operation or let it fail."""
        fault = self._fault
        self._count += 1
        if fault is None or self._count < fault.operation:
            return perform() if argument is None else perform(argument)
        if fault.error in (SHORT, SHORT_THEN_FULL):
            return self._short(kind, path, perform, argument, fault.error)
        if fault.duration == LASTING or self._count == fault.operation:
            self._fail(kind, path, fault.error)
        return perform() if argument is None else perform(argument)

    def _short(
        self, kind: str, path: Path, perform: Callable[..., Any], argument: Union[Path, memoryview, None], error: str
    ) -> Any:
        if kind == "write" and isinstance(argument, memoryview):
            if self._shortened and error == SHORT_THEN_FULL:
                self._fault = None
                self._fail(kind, path, "ENOSPC")
            self._shortened = True
            self.met.append(kind)
            return perform(argument[: max(1, len(argument) // 2 - 1)])
        return perform() if argument is None else perform(argument)

    def _fail(self, kind: str, path: Path, error: str) -> None:
        self.met.append(kind)
        number = getattr(errno, error)
        raise OSError(number, os.strerror(number), str(path))


class SavesAndLooks(Hook):
    """Saves all kinds at every step, meets the fault in one of them, and looks at the folder before and after.

    Args:
        operations: What the trainer touches files by.
        fault: The fault; None: everything works.
        warnings: Gets the warnings that are logged.
    """

    def __init__(self, operations: FaultyOperations, fault: Optional[Fault], warnings: List[str]) -> None:
        self._operations, self._fault, self._warnings = operations, fault, warnings
        self.problems: List[Tuple[str, str]] = []

    def on_step(self, trainer: Any) -> None:
        """Save best, last and periodic."""
        folder = trainer.run_folder / CHECKPOINT_FOLDER
        saves = {
            "best": lambda: trainer.consider_best(float(trainer.timestep)),
            "last": trainer.save_last,
            "periodic": trainer.save_periodic,
        }
        for kind in KINDS:
            before, told = digests(folder), len(self._warnings)
            met = self._fault is not None and kind == self._fault.kind and trainer.timestep == _FAULT_STEP
            if met:
                assert self._fault is not None
                self._operations.arm(self._fault)
            saves[kind]()
            self._operations.disarm()
            if met and self._operations.met:
                self._judge(folder, before, self._warnings[told:])
            elif digests(folder) == before:
                self.problems.append(("next_save_failed", "{} at step {}".format(kind, trainer.timestep)))

    def _judge(self, folder: Path, before: Dict[str, str], warnings: List[str]) -> None:
        after, met = digests(folder), self._operations.met
        assert self._fault is not None
        fails = self._fault.error != SHORT and met[0] != "remove"
        changed = {name for name in set(before) | set(after) if before.get(name) != after.get(name)}
        whole = met[0] == "sync_folder" and len(changed) == 1 and _loads(folder / min(changed))
        if fails and changed and not whole:
            self.problems.append(("changed", "{} at {}".format(sorted(changed), met[0])))
        expected = 0 if self._fault.error == SHORT else 1
        if len(warnings) != expected or not all(_tells(warning) for warning in warnings):
            self.problems.append(("wrong_warnings", str(warnings)))
        if self._fault.duration == ONCE and leftovers(folder):
            self.problems.append(("leftovers", met[0]))


def _tells(warning: str) -> bool:
    return "Training goes on" in warning or "Cannot remove the old checkpoint" in warning


def _loads(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except AquaMLError:
        return False
    return True


def faults() -> Iterator[Fault]:
    """Yield every fault of a save."""
    for kind in KINDS:
        for operation, error, duration in itertools.product(range(_MOST_OPERATIONS), ERRORS, (ONCE, LASTING)):
            yield Fault(kind, operation, error, duration)
        yield Fault(kind, 0, SHORT, LASTING)
        yield Fault(kind, 0, SHORT_THEN_FULL, ONCE)


def run(
    count: int, seed: int, operations: Callable[[], FaultyOperations] = FaultyOperations, system: bool = True
) -> DiskFigures:
    """Inject ``count`` faults into saves, and some into the beginning and end of runs.

    Args:
        count: Faults of saves, at most all there are.
        seed: Of the choice.
        operations: Makes what the trainings touch files by.
        system: Whether limits and file systems of the operating system are tried too.
    """
    randomness = random.Random(seed)
    chosen = list(faults())
    if count < len(chosen):
        chosen = randomness.sample(chosen, count)
    figures = DiskFigures()
    with tempfile.TemporaryDirectory() as place:
        for index, fault in enumerate(chosen):
            save_with(Path(place) / "save_{}".format(index), fault, operations(), figures)
        for error in ERRORS if count >= len(list(faults())) else ERRORS[:1]:
            _begin_with(Path(place) / "begin_{}".format(error), error, operations, figures)
            _end_with(Path(place) / "end_{}".format(error), error, operations, figures)
        if system:
            figures.file_size_limit = real_disks.with_small_files(Path(place))
            figures.full_disk = real_disks.on_full_disk(Path(place))
            figures.read_only_disk = real_disks.on_read_only_disk(Path(place))
    return figures


def save_with(root: Path, fault: Fault, operations: FaultyOperations, figures: DiskFigures) -> None:
    """Train with one fault in one save, and count what came of it.

    Args:
        root: Where runs are collected; removed in the end.
        fault: The fault.
        operations: What the training touches files by.
        figures: Where it is counted.
    """
    warnings: List[str] = []
    looks = SavesAndLooks(operations, fault, warnings)
    trainer = _trainer(root, operations, looks)
    handler = logger.add(lambda message: warnings.append(str(message)), level="WARNING")
    try:
        trainer.train()
    except (AquaMLError, OSError) as error:
        looks.problems.append(("stopped", str(error)))
    finally:
        logger.remove(handler)
    if operations.met:
        figures.faults += 1
        if not looks.problems and (trainer.timestep, trainer.state) != (_STEPS, "finished"):
            looks.problems.append(("stopped", trainer.state))
        for field in {field for field, _ in looks.problems}:
            setattr(figures, field, getattr(figures, field) + 1)
        _note(figures, ["{}: {}: {}".format(fault, field, text) for field, text in looks.problems])
    shutil.rmtree(str(root), ignore_errors=True)


def _trainer(root: Path, operations: Optional[FaultyOperations], hook: Hook, **settings: Any) -> Any:
    options = dict({"timesteps": _STEPS, "checkpoint_interval": 0, "keep_checkpoints": _KEEP}, **settings)
    return tiny_trainer(root, operations, [hook], **options)


def _note(figures: DiskFigures, problems: List[str]) -> None:
    figures.problems += problems[: max(0, 5 - len(figures.problems))]


def _begin_with(root: Path, error: str, make: Callable[[], FaultyOperations], figures: DiskFigures) -> None:
    """Let each operation fail, from the run's folder to its first checkpoint."""
    for operation in itertools.count():
        operations = make()
        operations.arm(Fault("last", operation, error, ONCE))
        place = root / str(operation)
        begun = _Begun(operations)
        problem = "nothing was raised"
        try:
            _trainer(place, operations, begun).train()
        except AquaMLError as raised:
            problem = "" if _is_free(place) else "{} left the folder locked".format(type(raised).__name__)
        except OSError as raised:
            problem = "{}: {}".format(type(raised).__name__, raised)
        if begun.first_save_is_done:
            return
        figures.beginnings += 1
        if problem:
            figures.beginnings_not_raised += 1
            _note(figures, ["beginning, operation {}: {}".format(operation, problem)])


def _is_free(root: Path) -> bool:
    for path in root.glob("*/"):
        folder = RunFolder.existing(path)
        folder.claim()
        folder.release()
    return True


class _Begun(Hook):
    """Notes that the first checkpoint was written, and lets everything work from then on."""

    def __init__(self, operations: FaultyOperations) -> None:
        self._operations = operations
        self.first_save_is_done = False

    def on_checkpoint(self, trainer: Any, path: Path) -> None:
        """Note it."""
        self._operations.disarm()
        self.first_save_is_done = True


def _end_with(root: Path, error: str, make: Callable[[], FaultyOperations], figures: DiskFigures) -> None:
    """Let each operation of the last save fail."""
    for operation in itertools.count():
        operations = make()
        hook = _ArmsAtTheEnd(operations, Fault("last", operation, error, ONCE))
        trainer = _trainer(root / str(operation), operations, hook)
        problem = "nothing was raised"
        try:
            trainer.train()
        except CheckpointWriteError:
            changed = {name for name, digest in digests(hook.folder).items() if hook.before.get(name) != digest}
            in_place = operations.met == ["sync_folder"] and _loads(hook.folder / "last.aqua")
            problem = "" if not changed or (in_place and changed == {"last.aqua"}) else "{} changed".format(changed)
        except (AquaMLError, OSError) as raised:
            problem = "{}: {}".format(type(raised).__name__, raised)
        if not operations.met:
            return
        figures.endings += 1
        if problem or trainer.state != "failed":
            figures.endings_not_raised += 1
            _note(figures, ["end, operation {}: {}".format(operation, problem or trainer.state)])


class _ArmsAtTheEnd(Hook):
    """Saves all kinds once, and arms the fault at the last step."""

    def __init__(self, operations: FaultyOperations, fault: Fault) -> None:
        self._operations, self._fault = operations, fault
        self.before: Dict[str, str] = {}
        self.folder = Path()

    def on_step(self, trainer: Any) -> None:
        """Save, look and arm."""
        if trainer.timestep == _STEPS:
            trainer.consider_best(1.0)
            trainer.save_periodic()
            self.folder = trainer.run_folder / CHECKPOINT_FOLDER
            self.before = digests(self.folder)
            self._operations.arm(self._fault)
