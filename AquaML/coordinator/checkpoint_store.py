"""The checkpoints of a run: periodic ones with retention, the last, and the best."""

import re
from pathlib import Path
from typing import List, Optional, Union

from AquaML.coordinator.checkpoint_format import Checkpoint, write_checkpoint
from AquaML.errors import CheckpointNotFoundError

SUFFIX = ".aqua"
LAST, BEST = "last" + SUFFIX, "best" + SUFFIX
_PERIODIC = re.compile(r"step_(\d+)" + re.escape(SUFFIX) + r"$")


class CheckpointStore:
    """A folder with ``step_<timestep>.aqua``, ``last.aqua`` and ``best.aqua``.

    Args:
        folder: Where the files are; made at the first save.
        keep: How many periodic checkpoints are kept; the oldest go first. ``last`` and ``best`` always stay.
    """

    def __init__(self, folder: Union[str, Path], keep: int) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def save_periodic(self, timestep: int, checkpoint: Checkpoint) -> Path:
        """Write a periodic checkpoint and remove those beyond the number to keep."""
        path = write_checkpoint(self.folder / "step_{}{}".format(timestep, SUFFIX), checkpoint)
        for old in self.periodic()[: -self.keep]:
            old.unlink()
        return path

    def save_last(self, checkpoint: Checkpoint) -> Path:
        """Write the last checkpoint of a run."""
        return write_checkpoint(self.folder / LAST, checkpoint)

    def save_best(self, checkpoint: Checkpoint) -> Path:
        """Write the best checkpoint."""
        return write_checkpoint(self.folder / BEST, checkpoint)

    def periodic(self) -> List[Path]:
        """Return the periodic checkpoints in the order in which they were written.

        A run that goes on from an earlier checkpoint writes smaller timesteps after larger ones, so the time of
        writing decides; the timestep does only between files of one instant.
        """
        found = [
            (path.stat().st_mtime_ns, int(match.group(1)), path)
            for path in self._files()
            for match in [_PERIODIC.match(path.name)]
            if match
        ]
        return [path for _, _, path in sorted(found)]

    def best(self) -> Optional[Path]:
        """Return the best checkpoint, or None."""
        path = self.folder / BEST
        return path if path.is_file() else None

    def latest(self) -> Path:
        """Return the checkpoint that was written last, periodic or last.

        Raises:
            CheckpointNotFoundError: There is none.
        """
        candidates = self.periodic()[-1:] + [path for path in (self.folder / LAST,) if path.is_file()]
        if not candidates:
            raise CheckpointNotFoundError("There is no checkpoint in '{}' to resume from.".format(self.folder))
        # Of two files of one instant (file systems with coarse clocks) the last one was written later.
        return max(candidates, key=lambda path: (path.stat().st_mtime_ns, path.name == LAST))

    def _files(self) -> List[Path]:
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []
