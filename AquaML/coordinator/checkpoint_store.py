"""The checkpoints of a run: periodic ones with retention, the last, and the best."""

import dataclasses
import os
import re
import stat
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from loguru import logger

from AquaML.coordinator.checkpoint_format import Checkpoint, read_checkpoint, read_metadata, write_checkpoint
from AquaML.coordinator.file_operations import FileOperations, sweep_leftovers
from AquaML.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
)
from AquaML.stateful import Part, collect_states

SUFFIX = ".aqua"
LAST, BEST = "last" + SUFFIX, "best" + SUFFIX
NOT_FINITE = "not_finite" + SUFFIX
"""Weights with NaN or infinity, for a look; never taken for a checkpoint to go on from."""
SEQUENCE = "sequence"
"""Entry of the metadata that counts the checkpoints of a run in the order of writing."""
BESIDE = "beside"
"""Entry of the metadata: the name of the file beside a checkpoint that holds its large parts; None: it has none."""
_BESIDE_KIND = "beside"
_BESIDE = re.compile(r"(\w+)\.memory-(\d+)" + re.escape(SUFFIX) + r"$")
_PERIODIC = re.compile(r"step_(\d+)" + re.escape(SUFFIX) + r"$")


class CheckpointStore:
    """A folder with ``step_<timestep>.aqua``, ``last.aqua`` and ``best.aqua``.

    Every checkpoint carries its place in the order of writing, so that neither the clock nor the timestep, which goes
    back when a run goes on from an earlier checkpoint, decides which is the newest. Large parts, such as a replay
    memory, lie in ``<name>.memory-<place>.aqua`` beside a periodic or last checkpoint; the best one goes without.

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
        found = {path.name[: -len(SUFFIX)]: _metadata_of(path) for path in self._files()}
        for path in self._beside_files():
            metadata = found.get(_stem_of(path), {BESIDE: None})
            # What cannot be read now may be readable tomorrow, and would need its file.
            if metadata and metadata.get(BESIDE) != path.name:
                self._remove(path)

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
                if not old.exists():
                    self._remove_beside(old.stem)
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

    def _remove_beside(self, stem: str, but: Optional[str] = None) -> None:
        """Remove the files beside a checkpoint that is gone or has a newer one."""
        for path in self._beside_files():
            if _stem_of(path) == stem and path.name != but:
                self._remove(path)

    def save_last(self, checkpoint: Checkpoint) -> Path:
        """Write the last checkpoint of a run; raises as :meth:`save_periodic`."""
        return self._save(LAST, checkpoint)

    def save_best(self, checkpoint: Checkpoint) -> Path:
        """Write the best checkpoint, without its large parts; raises as :meth:`save_periodic`."""
        return self._save(BEST, checkpoint, with_beside=False)

    def save_not_finite(self, checkpoint: Checkpoint) -> Path:
        """Write weights that nobody should go on from beside the checkpoints; raises as :meth:`save_periodic`."""
        return self._save(NOT_FINITE, checkpoint, with_beside=False)

    def _save(self, name: str, checkpoint: Checkpoint, with_beside: bool = True) -> Path:
        numbers = self._known_numbers()
        # A number is used once, even if its save fails: the file may be in place by then.
        numbers[name] = max(numbers.values(), default=0) + 1
        metadata = dict(checkpoint.metadata, **{SEQUENCE: numbers[name]})
        if not checkpoint.beside:
            return self._write(name, dataclasses.replace(checkpoint, metadata=metadata))
        stem = name[: -len(SUFFIX)]
        beside = self._save_beside(stem, numbers[name], checkpoint.beside) if with_beside else None
        metadata[BESIDE] = beside
        try:
            path = self._write(name, dataclasses.replace(checkpoint, metadata=metadata))
        except CheckpointError:
            # A save can fail after its rename; then the checkpoint that is in place needs the file.
            if beside is not None and _metadata_of(self.folder / name).get(BESIDE) != beside:
                self._remove(self.folder / beside)
            raise
        # Not before the checkpoint that goes with the new one is in place.
        self._remove_beside(stem, but=beside)
        return path

    def _save_beside(self, stem: str, number: int, parts: Sequence[Part]) -> Optional[str]:
        """Write large parts; return the file's name, or None if none of them is to be saved."""
        saved = [part for part in parts if part.stateful.is_saved]
        if not saved:
            return None
        name = "{}.memory-{}{}".format(stem, number, SUFFIX)
        self._write(name, Checkpoint({"kind": _BESIDE_KIND, SEQUENCE: number}, collect_states(saved)))
        return name

    def _write(self, name: str, checkpoint: Checkpoint) -> Path:
        return write_checkpoint(self.folder / name, checkpoint, self._operations)

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

    def _beside_files(self) -> List[Path]:
        names = sorted(os.listdir(str(self.folder))) if self.folder.is_dir() else []
        return [self.folder / name for name in names if _BESIDE.match(name) and _is_plain_file(self.folder / name)]

    def _files(self) -> List[Path]:
        names = sorted(os.listdir(str(self.folder))) if self.folder.is_dir() else []
        chosen = [self.folder / name for name in names if name in (LAST, BEST) or _PERIODIC.match(name)]
        return [path for path in chosen if _is_plain_file(path)]

    def _ordered(self, paths: List[Path]) -> List[Tuple[int, Path]]:
        """Return the files by their place in the order of writing; unreadable ones come first.

        One without its large parts is no exact place to go on from, so it comes before any that has them.
        """
        found = [(_metadata_of(path), path) for path in paths]
        found.sort(key=lambda item: (item[0].get(BESIDE, "") is not None, _sequence_of(item[0]), str(item[1])))
        return [(_sequence_of(metadata), path) for metadata, path in found]


def _is_plain_file(path: Path) -> bool:
    try:
        # A link could lead out of the run's folder.
        return stat.S_ISREG(os.lstat(str(path)).st_mode)
    except FileNotFoundError:
        # A run that is writing here removed it since.
        return False


def is_intact(path: Path) -> bool:
    """Return whether a checkpoint can be read, with what lies beside it; what is wrong with it is logged."""
    try:
        read_with_beside(path)
    except CheckpointError as error:
        logger.warning("A checkpoint is passed over: {}", error)
        return False
    return True


def read_with_beside(path: Union[str, Path]) -> Checkpoint:
    """Read a checkpoint and the large parts that lie beside it; without such a file they are absent.

    Raises:
        CheckpointError: One of the files is missing or damaged, or they do not belong together.
    """
    checkpoint, source = read_checkpoint(path), Path(path)
    name = checkpoint.metadata.get(BESIDE)
    if name is None:
        return checkpoint
    if not isinstance(name, str) or not _BESIDE.match(name):
        raise CheckpointCorruptError("'{}' names {!r} as the file beside it.".format(source, str(name)[:100]))
    place = source.with_name(name)
    if not place.is_file():
        raise CheckpointNotFoundError(
            "'{}' needs '{}' beside it, which holds its replay memory. Copy both; weights alone are read by "
            "agent.load().".format(source, name)
        )
    beside = read_checkpoint(place)
    number = checkpoint.metadata.get(SEQUENCE)
    if beside.metadata.get("kind") != _BESIDE_KIND or beside.metadata.get(SEQUENCE) != number:
        raise CheckpointMismatchError("'{}' was not written together with '{}'.".format(place, source))
    return Checkpoint(checkpoint.metadata, dict(checkpoint.parts, **beside.parts))


def _stem_of(beside: Path) -> str:
    """Return the name, without suffix, of the checkpoint that a file lies beside."""
    return beside.name.split(".", 1)[0]


def _metadata_of(path: Path) -> Dict[str, Any]:
    try:
        return read_metadata(path)
    except CheckpointError:
        return {}


def _sequence_of(metadata: Dict[str, Any]) -> int:
    number = metadata.get(SEQUENCE, 0)
    return number if type(number) is int else 0
