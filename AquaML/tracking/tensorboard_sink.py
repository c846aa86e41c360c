"""Figures for TensorBoard, through the tensorboard package's own writer."""

import time
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

    def __init__(self) -> None:
        super().__init__()
        self._writer: Any = None

    def open(self, folder: Path, configuration: Dict[str, Any]) -> None:
        """Make the writer.

        Raises:
            MissingDependencyError: tensorboard is not installed.
        """
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise MissingDependencyError("TrainerConfig.tensorboard needs: pip install tensorboard") from error
        self._event, self._summary, self._restart = Event, Summary, SessionLog(status=SessionLog.START)
        self._writer = EventFileWriter(str(folder / FOLDER_NAME))
        self._resuming = self.rows > 0

    def write(self, step: int, row: Dict[str, float]) -> None:
        """Add every figure as a scalar over environment steps."""
        now = time.time()
        if self._resuming:
            # TensorBoard then forgets what the interrupted run wrote at this step and later.
            self._writer.add_event(self._event(wall_time=now, step=step, session_log=self._restart))
            self._resuming = False
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in row.items()]
        self._writer.add_event(self._event(wall_time=now, step=step, summary=self._summary(value=values)))
        self._writer.flush()
        self.rows += 1

    def close(self) -> None:
        """Close the writer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
