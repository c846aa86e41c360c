"""Folders of runs: several starts at once, locks of killed processes, hostile names, places where nothing can be.

Several processes wait at a barrier and then claim one run folder: exactly one may get it. It is killed while it holds
the lock, with a child of its own alive, and the folder must be free at once. Names of runs that try to lead out of the
folder of runs must not, and where a run cannot be kept, training must say so before its first step.
"""

import dataclasses
import os
import random
import string
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple

from AquaML.coordinator.checkpoint_store import CheckpointStore
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER, RunFolder
from AquaML.errors import AquaMLError, RunFolderInUseError, TrainerError
from AquaML.learning.trainers.hooks import Hook
from benchmarks.reliability.children import AVAILABLE, Child, fork, tell
from benchmarks.reliability.saving_story import checkpoint
from benchmarks.reliability.tiny_run import tiny_trainer

_STARTERS = 8
_HOSTILE_NAMES = 200
_OWNER, _REFUSED, _NEW = b"o", b"r", b"n"
_SAFE = string.ascii_letters + string.digits + "._-"

_PIECES = (
    *(
        "..",
        ".",
        "/",
        "\\",
        "../..",
        "..\\..",
        "/etc/passwd",
        "C:\\x",
        "\\\\server\\share",
        "//",
        "~",
        "~root",
        "$HOME",
    ),
    *("%2e%2e%2f", "..%c0%af", "\u2025", "\uff0e\uff0e\uff0f", "\u202egnp.exe", "\u200b", "e\u0301", "\U0001f600"),
    *(
        "\0",
        "\n",
        "\r",
        "\t",
        " ",
        ". ",
        "...",
        "-rf",
        "--",
        "*",
        "?",
        "|",
        ";",
        "&",
        "`id`",
        "$(id)",
        "'",
        '"',
        "<",
        ">",
    ),
    *(
        "CON",
        "con.txt",
        "NUL",
        "aux",
        "COM1",
        "LPT9.x",
        "desktop.ini",
        "run.lock",
        "checkpoints",
        "a:stream",
        "x" * 300,
    ),
)
_BEGINNINGS = ("", "../", "../../", "a/../../", "/", "..\\", "./../")


@dataclasses.dataclass
class DirectoryFigures:
    """What the starts and names showed.

    Attributes:
        rounds: Times that several processes claimed one folder at once.
        starters: Processes in each.
        rounds_without_one_owner: Rounds in which not exactly one got it.
        rounds_with_shared_names: Rounds in which new runs of one name, begun at once, shared a folder.
        stale_locks_in_the_way: Killed owners whose folder was not free at once.
        hostile_names: Names of runs tried.
        names_outside: Those that made something outside the folder of runs.
        bad_places: Places tried where no run can be kept.
        bad_places_not_told: Those that were not told by an error of AquaML before the first step.
        problems: The first few problems in words.
    """

    rounds: int = 0
    starters: int = _STARTERS
    rounds_without_one_owner: int = 0
    rounds_with_shared_names: int = 0
    stale_locks_in_the_way: int = 0
    hostile_names: int = 0
    names_outside: int = 0
    bad_places: int = 0
    bad_places_not_told: int = 0
    problems: List[str] = dataclasses.field(default_factory=list)


def run(count: int, seed: int) -> DirectoryFigures:
    """Let processes start ``count`` times at once, then try names and places.

    Args:
        count: Rounds of starts.
        seed: Of the names.
    """
    figures = DirectoryFigures()
    with tempfile.TemporaryDirectory() as place:
        for index in range(count if AVAILABLE else 0):
            _start_at_once(Path(place) / "starts" / str(index), figures)
        _try_names(Path(place) / "names", hostile_names(_HOSTILE_NAMES, seed), figures)
        _try_places(Path(place) / "places", figures)
    return figures


# ---------------------------------------------------------------------- starts


def _start_at_once(root: Path, figures: DirectoryFigures) -> None:
    shared = RunFolder(root, "shared").create()
    reader, writer = os.pipe()

    def start(descriptor: int) -> None:
        os.close(writer)
        os.read(reader, 1)
        own = RunFolder(root, "own")
        tell(descriptor, _NEW, _number_of(own.claim()))
        folder = RunFolder.existing(shared)
        try:
            folder.claim()
        except RunFolderInUseError:
            tell(descriptor, _REFUSED)
            return
        if os.fork() == 0:
            # A worker that outlives its parent must not hold the lock.
            os.close(descriptor)
            time.sleep(1.0)
            os._exit(0)
        tell(descriptor, _OWNER)
        time.sleep(60.0)

    children = [fork(start) for _ in range(_STARTERS)]
    os.close(reader)
    os.close(writer)
    figures.rounds += 1
    owners = [child for child in children if _became_owner(child)]
    names = [event.number for child in children for event in child.events if event.kind == _NEW]
    if len(owners) != 1:
        figures.rounds_without_one_owner += 1
        figures.problems.append("{} owners".format(len(owners)))
    if len(set(names)) != _STARTERS:
        figures.rounds_with_shared_names += 1
        figures.problems.append("new runs in the folders {}".format(names))
    for child in owners:
        child.kill()
        child.finish()
    figures.stale_locks_in_the_way += not _is_free(shared)


def _number_of(path: Path) -> int:
    return int(path.name.split("_")[1]) if "_" in path.name else 1


def _became_owner(child: Child) -> bool:
    """Wait until a child owns the folder or was refused."""
    while not any(event.kind in (_OWNER, _REFUSED) for event in child.events):
        if not child.wait_for_more():
            raise RuntimeError("a starting process ended without an answer")
    if child.events[-1].kind == _OWNER:
        return True
    child.finish()
    return False


def _is_free(path: Path) -> bool:
    folder = RunFolder.existing(path)
    try:
        folder.claim()
    except RunFolderInUseError:
        return False
    folder.release()
    return True


# ---------------------------------------------------------------------- names


def hostile_names(count: int, seed: int) -> List[str]:
    """Return names of runs that try to lead elsewhere or to be no file name at all."""
    randomness = random.Random(seed)
    names = list(_PIECES)
    while len(names) < count:
        pieces = [randomness.choice(_PIECES) for _ in range(randomness.randint(1, 4))]
        names.append(randomness.choice(_BEGINNINGS) + "".join(pieces))
    return names[:count]


def _try_names(place: Path, names: List[str], figures: DirectoryFigures) -> None:
    root = place / "above" / "runs"
    root.mkdir(parents=True)
    before = _outside(place, root)
    for name in names:
        folder = RunFolder(root, name)
        path = folder.claim()
        CheckpointStore(path / CHECKPOINT_FOLDER, 1).save_last(checkpoint(1))
        folder.release()
        figures.hostile_names += 1
        inside = path.resolve().parent == root.resolve() and set(path.name) <= set(_SAFE) and path.name[0] != "."
        if not inside or _outside(place, root) != before:
            figures.names_outside += 1
            figures.problems.append("{!r} became {}".format(name, path))


def _outside(place: Path, root: Path) -> Set[Tuple[str, int]]:
    """Return all that is below ``place`` but not in ``root``, with the times of changes."""
    found = set()
    for folder, names, files in os.walk(str(place)):
        names[:] = [name for name in names if Path(folder, name) != root]
        found.update(str(Path(folder, name)) for name in [".", *names, *files])
    return {(path, os.lstat(path).st_mtime_ns) for path in found}


# ---------------------------------------------------------------------- places


class _CountSteps(Hook):
    def __init__(self) -> None:
        self.steps = 0

    def on_step(self, trainer: Any) -> None:
        """Count."""
        self.steps += 1


def bad_places(place: Path) -> Dict[str, Path]:
    """Make places where no run can be kept, and return them by name."""
    place.mkdir(parents=True)
    (place / "file").write_text("in the way", encoding="utf-8")
    found = {
        "a file": place / "file",
        "below a file": place / "file" / "runs",
        "too long": place / ("x" * 300),
        "with NUL": Path(str(place / "nul") + "\0"),
    }
    if hasattr(os, "symlink") and os.name != "nt":
        (place / "loop").symlink_to(place / "loop")
        (place / "dangling").symlink_to(place / "absent" / "deeper")
        found.update({"a loop of links": place / "loop" / "runs", "a dangling link": place / "dangling"})
    if Path("/proc/self").is_dir():
        # Root may write in every folder but those of the kernel.
        found["not writable"] = Path("/proc/runs")
    return found


def _try_places(place: Path, figures: DirectoryFigures) -> None:
    for name, root in bad_places(place).items():
        steps = _CountSteps()
        figures.bad_places += 1
        try:
            tiny_trainer(root, hooks=[steps]).train()
            problem = "no error"
        except TrainerError as error:
            problem = "" if "run_directory" in str(error) else "no advice: {}".format(error)
        except (AquaMLError, OSError, ValueError) as error:
            problem = "{}: {}".format(type(error).__name__, error)
        if problem or steps.steps:
            figures.bad_places_not_told += 1
            figures.problems.append("{}: {} after {} steps".format(name, problem, steps.steps))
