"""Trainings whose disk the operating system itself makes small, full or read-only for a while."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, List, Optional

import torch

from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER
from AquaML.errors import AquaMLError
from AquaML.learning.trainers.hooks import Hook
from benchmarks.reliability.children import AVAILABLE, answer_of
from benchmarks.reliability.tiny_run import digests, tiny_trainer

_STEPS = 6
_TROUBLED = (3, 4)
_SMALL = 8192
"""Bytes of the largest file under the limit; a checkpoint has more."""

Change = Callable[[Path], Any]


class _Trouble(Hook):
    """Makes trouble for two steps and looks whether only their saves fail.

    Args:
        begin: Makes the trouble; gets the folder of the checkpoints.
        end: Ends it.
    """

    def __init__(self, begin: Change, end: Change) -> None:
        self._begin, self._end = begin, end
        self.problem = ""

    def on_step(self, trainer: Any) -> None:
        """Save the last and the best."""
        folder = trainer.run_folder / CHECKPOINT_FOLDER
        if trainer.timestep == _TROUBLED[0]:
            self._begin(folder)
        before = digests(folder)
        trainer.save_last()
        trainer.consider_best(float(trainer.timestep))
        after = digests(folder)
        changed = [name for name in after if before.get(name) != after[name]]
        if len(changed) != (0 if trainer.timestep in _TROUBLED else 2) or set(before) - set(after):
            self.problem = "at step {} the save changed {}".format(trainer.timestep, changed or "nothing")
        if trainer.timestep == _TROUBLED[-1]:
            self._end(folder)


def _train_in(root: Path, begin: Change, end: Change) -> str:
    """Train with the trouble between, and return what is wrong then; empty if nothing is."""
    trouble = _Trouble(begin, end)
    trainer = tiny_trainer(root, None, [trouble], timesteps=_STEPS, checkpoint_interval=0)
    try:
        trainer.train()
    except (AquaMLError, OSError, subprocess.CalledProcessError) as error:
        return "{}: {}".format(type(error).__name__, error)
    return trouble.problem or ("" if trainer.timestep == _STEPS else "stopped at {}".format(trainer.timestep))


def with_small_files(place: Path) -> Optional[str]:
    """Train under a limit on the size of files; None where the system has none."""
    if not AVAILABLE or not hasattr(signal, "SIGXFSZ"):
        return None
    return str(answer_of(lambda: _limited(place / "limit")))


def _limited(root: Path) -> str:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    return _train_in(
        root,
        lambda folder: resource.setrlimit(resource.RLIMIT_FSIZE, (_SMALL, before[1])),
        lambda folder: resource.setrlimit(resource.RLIMIT_FSIZE, before),
    )


def on_full_disk(place: Path) -> Optional[str]:
    """Train on a file system of 1 MB that is full for a while; None where making one is not permitted."""
    return _on_own_disk(place / "full", "full")


def on_read_only_disk(place: Path) -> Optional[str]:
    """Train where the folder of the checkpoints is read-only for a while; None where that is not permitted."""
    return _on_own_disk(place / "read_only", "read_only")


def _on_own_disk(place: Path, trouble: str) -> Optional[str]:
    place.mkdir()
    own = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    try:
        permitted = subprocess.run(own + mount, check=False, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return None
    if permitted.returncode != 0:
        return None
    script = '"$@" && exec {} -m benchmarks.reliability.real_disks {} {}'
    words = [_quoted(word) for word in (sys.executable, trouble, str(place))]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path or os.getcwd() for path in sys.path))
    result = subprocess.run(
        own + ["sh", "-c", script.format(*words), "sh"] + mount,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    if result.returncode != 0:
        return result.stderr.decode("utf-8", "replace")[-500:]
    return str(json.loads(result.stdout.decode("utf-8").splitlines()[-1]))


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _fill(folder: Path) -> None:
    with open(str(folder.parent / "filler"), "wb", buffering=0) as file:
        for size in (65536, 512, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def _make_read_only(folder: Path) -> None:
    # A second mount over the folder: the first one has a file open for writing, the lock.
    _call(["mount", "--bind", str(folder), str(folder)])
    _call(["mount", "-o", "remount,bind,ro", str(folder)])


def _call(command: List[str]) -> None:
    subprocess.run(command, check=True)


def main() -> None:
    """Train on the file system at a place, in trouble for a while."""
    trouble, place = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    if trouble == "full":
        problem = _train_in(place, _fill, lambda folder: (folder.parent / "filler").unlink())
    else:
        problem = _train_in(place, _make_read_only, lambda folder: _call(["umount", str(folder)]))
    print(json.dumps(problem))


if __name__ == "__main__":
    main()
