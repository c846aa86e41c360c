"""Kills trainings that save all the time, and looks whether anything that was acknowledged is lost.

A child trains a tiny PPO and saves its last, best and periodic checkpoints at every step. It acknowledges each save
over a pipe as soon as the save has returned. The parent ends it by SIGKILL at a random time. A fresh process then finds
the newest and the best checkpoint, loads both, and goes on with the run for more than one update.
"""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Tuple

import torch

from AquaML.coordinator.checkpoint_format import read_metadata
from AquaML.coordinator.checkpoint_store import BEST, CheckpointStore
from AquaML.coordinator.file_operations import FileOperations
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER
from AquaML.errors import AquaMLError, CheckpointNotFoundError
from AquaML.learning.trainers.hooks import Hook
from benchmarks.reliability.children import Child, Event, answer_of, fork, tell
from benchmarks.reliability.tiny_run import NAME, ROLLOUT, SaveAllKinds, leftovers, tiny_trainer

_FOREVER = 10**9
_LONGEST_LIFE = 0.04
"""Seconds from the first acknowledged save to the kill, at most."""
_MOST_SAVES = 8
_EARLY, _ANY_TIME = 1, 3
"""Of ten children one is killed while its run begins, three at any time, and six after a file was begun."""
BEGUN, ENDED, ACKNOWLEDGED, ACKNOWLEDGED_BEST = b"b", b"e", b"a", b"t"


@dataclasses.dataclass
class KillFigures:
    """What the kills showed.

    Attributes:
        kills: Processes ended by SIGKILL.
        inside_a_save: Those killed between the creation of a checkpoint's file and the end of its save.
        lost: Runs whose newest checkpoint was older than one acknowledged, or whose best one was.
        not_loadable: Runs whose newest or best checkpoint did not load.
        not_resumed: Runs that could not go on.
        most_leftovers: Temporary files in a run folder after a kill, at most.
        leftovers_after_restart: Those still there after the run went on.
        cold_kills: Kills of whole processes started anew, among all.
    """

    kills: int = 0
    inside_a_save: int = 0
    lost: int = 0
    not_loadable: int = 0
    not_resumed: int = 0
    most_leftovers: int = 0
    leftovers_after_restart: int = 0
    cold_kills: int = 0


class TellingOperations(FileOperations):
    """Tells when the file of a checkpoint is begun and when its save has reached the disk."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def create(self, path: Path) -> BinaryIO:
        """Tell, and open the file."""
        if path.parent.name == CHECKPOINT_FOLDER:
            tell(self._descriptor, BEGUN, time.monotonic_ns())
        return super().create(path)

    def sync_folder(self, folder: Path) -> None:
        """Bring the folder to the disk, and tell."""
        super().sync_folder(folder)
        if folder.name == CHECKPOINT_FOLDER:
            tell(self._descriptor, ENDED, time.monotonic_ns())


class Acknowledge(Hook):
    """Tells every save that has returned."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def on_checkpoint(self, trainer: Any, path: Path) -> None:
        """Tell the step."""
        tell(self._descriptor, ACKNOWLEDGED_BEST if path.name == BEST else ACKNOWLEDGED, trainer.timestep)


def run(
    count: int, seed: int, operations: Callable[[int], FileOperations] = TellingOperations, cold: Optional[int] = None
) -> KillFigures:
    """Kill ``count`` trainings.

    Args:
        count: Number of forked processes to kill.
        seed: Of the times.
        operations: Makes what the killed processes touch files by; gets the descriptor to tell by.
        cold: Number of processes started anew, by the command line, to kill besides; None: one for 200 forked ones.
    """
    randomness = random.Random(seed)
    figures = KillFigures()
    with tempfile.TemporaryDirectory() as place:
        tiny_trainer(Path(place) / "warm").train()
        begin, save = _usual_seconds(Path(place) / "usual")
        for index in range(count):
            root = Path(place) / str(index)
            child = fork(partial(_train, root, operations=operations))
            kind = index % 10
            if kind < _EARLY:
                child.collect_for(randomness.uniform(0.0, begin))
            elif kind < _EARLY + _ANY_TIME:
                child.wait_for(ACKNOWLEDGED)
                child.collect_for(randomness.uniform(0.0, _LONGEST_LIFE))
            else:
                child.wait_for(BEGUN, randomness.randint(2, _MOST_SAVES))
                child.collect_for(randomness.uniform(0.0, save))
            _count(figures, _kill(child), answer_of(partial(_examine, root)))
            shutil.rmtree(str(root), ignore_errors=True)
        for index in range(max(1, count // 200) if cold is None else cold):
            root = Path(place) / "cold_{}".format(index)
            _count(figures, _kill_cold(root, randomness.uniform(0.0, 1.0)), _examine_cold(root))
            figures.cold_kills += 1
    return figures


def _usual_seconds(root: Path) -> Tuple[float, float]:
    """Return how long a run takes to begin, and a checkpoint's file to be written and brought to the disk."""
    began = time.monotonic()
    child = fork(lambda descriptor: _train(root, descriptor, TellingOperations))
    child.wait_for(ACKNOWLEDGED)
    to_begin = time.monotonic() - began
    child.wait_for(ENDED, 2 * _MOST_SAVES)
    child.kill()
    child.finish()
    times = [[event.number for event in child.events if event.kind == kind] for kind in (BEGUN, ENDED)]
    lengths = sorted(ended - begun for begun, ended in zip(*times))
    return to_begin, 1e-9 * lengths[len(lengths) // 2]


def _train(root: Path, descriptor: int, operations: Callable[[int], FileOperations]) -> None:
    hooks = [SaveAllKinds(), Acknowledge(descriptor)]
    tiny_trainer(root, operations(descriptor), hooks, timesteps=_FOREVER).train()


def _kill(child: Child) -> List[Event]:
    child.kill()
    if child.finish() != -signal.SIGKILL:
        raise RuntimeError("a training ended before it was killed")
    return child.events


def _examine(root: Path) -> Dict[str, Any]:
    """Find, load and go on, as a process that knows nothing of the one that was killed."""
    folder = root / NAME
    found: Dict[str, Any] = {"latest": None, "best": None, "loads": True, "resumed": False}
    found["leftovers"] = len(leftovers(folder))
    store = CheckpointStore(folder / CHECKPOINT_FOLDER, 1)
    try:
        found["latest"] = _step(store.latest())
    except CheckpointNotFoundError:
        found["loads"] = not list(folder.glob("*/*.aqua"))
    try:
        steps = (found["latest"] or 0) + 2 * ROLLOUT
        trainer = tiny_trainer(root, resume=True, timesteps=steps, checkpoint_interval=0)
        best = store.best()
        if best is not None:
            trainer.agent.load(best)
            found["best"] = _step(best)
        elif (store.folder / BEST).exists():
            found["loads"] = False
        trainer.train()
        in_place = trainer.run_folder == folder or found["latest"] is None
        found["resumed"] = in_place and trainer.timestep == steps
    except AquaMLError as error:
        found["error"] = str(error)
    found["left"] = 0 if found["latest"] is None else len(leftovers(folder))
    return found


def _step(path: Path) -> int:
    return int(read_metadata(path)["counters"]["timestep"])


def _count(figures: KillFigures, events: List[Event], found: Dict[str, Any]) -> None:
    acknowledged = max((event.number for event in events if event.kind != BEGUN and event.kind != ENDED), default=-1)
    best = max((event.number for event in events if event.kind == ACKNOWLEDGED_BEST), default=-1)
    saving = [event.kind for event in events if event.kind in (BEGUN, ENDED)]
    figures.kills += 1
    figures.inside_a_save += saving[-1:] == [BEGUN]
    figures.lost += _lost(found["latest"], acknowledged) or _lost(found["best"], best)
    figures.not_loadable += not found["loads"]
    figures.not_resumed += not found["resumed"]
    figures.most_leftovers = max(figures.most_leftovers, found["leftovers"])
    figures.leftovers_after_restart += found["left"]


def _lost(step: Optional[int], acknowledged: int) -> bool:
    return (-1 if step is None else step) < acknowledged


# ---------------------------------------------------------------------- whole processes


def _kill_cold(root: Path, life: float) -> List[Event]:
    reader, writer = os.pipe()
    process = _start(["train", str(root), str(writer)], pass_fds=(writer,))
    os.close(writer)
    child = Child(process.pid, reader)
    child.wait_for(ACKNOWLEDGED)
    child.collect_for(life)
    events = _kill(child)
    # The child was waited for already.
    process.returncode = -signal.SIGKILL
    return events


def _examine_cold(root: Path) -> Dict[str, Any]:
    process = _start(["examine", str(root)], stdout=subprocess.PIPE)
    output, _ = process.communicate()
    return dict(json.loads(output.decode("utf-8")))


def _start(arguments: List[str], **options: Any) -> "subprocess.Popen[bytes]":
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path or os.getcwd() for path in sys.path))
    command = [sys.executable, "-m", "benchmarks.reliability.kills"] + arguments
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment, **options)


def main() -> None:
    """Be the process that is killed, or the one that looks at what it left."""
    task, root = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    if task == "train":
        _train(root, int(sys.argv[3]), TellingOperations)
    else:
        print(json.dumps(_examine(root)))


if __name__ == "__main__":
    main()
