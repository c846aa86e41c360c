"""The checkpoints of a run: periodic ones with retention, the last, and the best."""

import dataclasses
import os
import re
import stat
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

from loguru import logger

from AquaML.coordinator.checkpoint_format import Checkpoint, read_checkpoint, read_metadata, write_checkpoint
from AquaML.coordinator.file_operations import FileOperations, sweep_leftovers
from AquaML.errors import CheckpointError, CheckpointNotFoundError

SUFFIX = ".aqua"
LAST, BEST = "last" + SUFFIX, "best" + SUFFIX
NOT_FINITE = "not_finite" + SUFFIX
"""Weights with NaN or infinity, for a look; never taken for a checkpoint to go on from."""
SEQUENCE = "sequence"
"""Entry of the metadata that counts the checkpoints of a run in the order of writing."""
_PERIODIC = re.compile(r"step_(\d+)" + re.escape(SUFFIX) + r"$")


class CheckpointStore:
    """A folder with ``step_<timestep>.aqua``, ``last.aqua`` and ``best.aqua``.

    Every checkpoint carries its place in the order of writing, so that neither the clock nor the timestep, which goes
    back when a run goes on from an earlier checkpoint, decides which is the newest.

    Args:
        folder: Where the files are; made at the first save.
        keep: How many periodic checkpoints are kept; the oldest go first. ``last`` and ``best`` always stay.
        operations: How files are touched; None: as usual.
    """

    def __init__(self, folder: Union[str, Path], keep: int, operations: Optional[FileOperations] = None) -> None:
        self.folder = Path(folder)
        self.keep = keep
        self._operations = operations or FileOperations()
        self._numbers: Optional[Dict[str, int]] = None

    def open(self) -> None:
        """Delete what killed processes left half written; call it once nobody else can be writing."""
        sweep_leftovers(self.folder, self._operations)

    # ------------------------------------------------------------------ writing

    def save_periodic(self, timestep: int, checkpoint: Checkpoint) -> Path:
        """Write a periodic checkpoint and remove those beyond the number to keep.

        Raises:
            CheckpointWriteError: The file system did not take it; every older checkpoint is as it was.
        """
        path = self._save("step_{}{}".format(timestep, SUFFIX), checkpoint)
        surplus = self._surplus()
        # Only one that can be read takes the place of an older one.
        if surplus and is_intact(path):
            for old in surplus:
                self._remove(old)
        return path

    def _surplus(self) -> List[Path]:
        """Return the periodic checkpoints beyond the number to keep, by what this store knows without reading them."""
        files, numbers = self._files(), self._known_numbers()
        # Names of files that are gone are forgotten.
        self._numbers = {path.name: numbers.get(path.name, 0) for path in files}
        periodic = [path for path in files if _PERIODIC.match(path.name)]
        return sorted(periodic, key=lambda path: numbers.get(path.name, 0))[: -self.keep]

    def _known_numbers(self) -> Dict[str, int]:
        """Return the places in the order of writing by name; they are read once, then kept up to date by saving."""
        if self._numbers is None:
            self._numbers = {path.name: number for number, path in self._ordered(self._files())}
        return self._numbers

    def _remove(self, old: Path) -> None:
        try:
            self._operations.remove(old)
        except OSError as error:
            logger.warning("Cannot remove the old checkpoint '{}': {}.", old, error)

    def save_last(self, checkpoint: Checkpoint) -> Path:
        """Write the last checkpoint of a run; raises as :meth:`save_periodic`."""
        return self._save(LAST, checkpoint)

    def save_best(self, checkpoint: Checkpoint) -> Path:
        """Write the best checkpoint; raises as :meth:`save_periodic`."""
        return self._save(BEST, checkpoint)

    def save_not_finite(self, checkpoint: Checkpoint) -> Path:
        """Write weights that nobody should go on from beside the checkpoints; raises as :meth:`save_periodic`."""
        return self._save(NOT_FINITE, checkpoint)

    def _save(self, name: str, checkpoint: Checkpoint) -> Path:
        numbers = self._known_numbers()
        # A number is used once, even if its save fails: the file may be in place by then.
        numbers[name] = max(numbers.values(), default=0) + 1
        metadata = dict(checkpoint.metadata, **{SEQUENCE: numbers[name]})
        return write_checkpoint(
            self.folder / name, dataclasses.replace(checkpoint, metadata=metadata), self._operations
        )

    # ------------------------------------------------------------------ finding

    def periodic(self) -> List[Path]:
        """Return the periodic checkpoints in the order in which they were written."""
        return [path for _, path in self._ordered(self._files()) if _PERIODIC.match(path.name)]

    def best(self) -> Optional[Path]:
        """Return the best checkpoint, or None if there is none or it is damaged."""
        path = self.folder / BEST
        return path if path in self._files() and is_intact(path) else None

    def latest(self) -> Path:
        """Return the intact checkpoint that was written last, periodic, last or best.

        Raises:
            CheckpointNotFoundError: There is none.
        """
        self.require_any()
        found = self._ordered(self._files())
        # What does not even tell its place may have been the newest, so it is looked at, and spoken of, first.
        unplaced = [path for number, path in found if number == 0]
        damaged = [path for path in unplaced if not is_intact(path)]
        for _, path in reversed(found):
            if path not in damaged and (path in unplaced or is_intact(path)):
                return path
        raise CheckpointNotFoundError("There is no intact checkpoint in '{}' to resume from.".format(self.folder))

    def require_any(self) -> None:
        """Check that there is a checkpoint, intact or not.

        Raises:
            CheckpointNotFoundError: There is none.
        """
        if not self._files():
            raise CheckpointNotFoundError("There is no checkpoint in '{}' to resume from.".format(self.folder))

    def _files(self) -> List[Path]:
        names = sorted(os.listdir(str(self.folder))) if self.folder.is_dir() else []
        chosen = [self.folder / name for name in names if name in (LAST, BEST) or _PERIODIC.match(name)]
        return [path for path in chosen if _is_plain_file(path)]

    def _ordered(self, paths: List[Path]) -> List[Tuple[int, Path]]:
        """Return the files by their place in the order of writing; unreadable ones come first."""
        return sorted(((_sequence_of(path), path) for path in paths), key=lambda item: (item[0], str(item[1])))


def _is_plain_file(path: Path) -> bool:
    try:
        # A link could lead out of the run's folder.
        return stat.S_ISREG(os.lstat(str(path)).st_mode)
    except FileNotFoundError:
        # A run that is writing here removed it since.
        return False


def is_intact(path: Path) -> bool:
    """Return whether a checkpoint can be read; what is wrong with it is logged."""
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        logger.warning("A checkpoint is passed over: {}", error)
        return False
    return True


def _sequence_of(path: Path) -> int:
    try:
        metadata: Dict[str, Any] = read_metadata(path)
    except CheckpointError:
        return 0
    number = metadata.get(SEQUENCE, 0)
    return number if type(number) is int else 0
