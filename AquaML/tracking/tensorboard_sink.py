"""Figures for TensorBoard, through the tensorboard package's own writer."""

from pathlib import Path
from typing import Any, Dict

from AquaML.errors import MissingDependencyError
from AquaML.tracking.sink import Sink

FOLDER_NAME = "tensorboard"


class TensorBoardSink(Sink):
    """Event files in ``tensorboard/``; needs ``pip install tensorboard``.

    torch's own writer is not used: it cannot be imported with old torch and new setuptools.
    """

    name = "tensorboard"

    def open(self, folder: Path, configuration: Dict[str, Any]) -> None:
        """Make the writer.

        Raises:
            MissingDependencyError: tensorboard is not installed.
        """
        try:
            from tensorboard.summary import Writer
        except ImportError as error:
            raise MissingDependencyError("TrainerConfig.tensorboard needs: pip install tensorboard") from error
        self._writer = Writer(str(folder / FOLDER_NAME))

    def write(self, step: int, row: Dict[str, float]) -> None:
        """Add every figure as a scalar over environment steps."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()
        self.rows += 1

    def close(self) -> None:
        """Close the writer."""
        writer = getattr(self, "_writer", None)
        if writer is not None:
            del self._writer
            writer.close()
