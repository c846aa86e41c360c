"""Figures for TensorBoard, through the tensorboard package's own writer."""

import time
from pathlib import Path
from typing import Any, Dict

from AquaML.errors import MissingDependencyError, StateError
from AquaML.stateful import require_keys
from AquaML.tracking.sink import Sink

FOLDER_NAME = "tensorboard"


class TensorBoardSink(Sink):
    """Event files in ``tensorboard/``; needs ``pip install tensorboard``.

    torch's own writer is not used: it cannot be imported with old torch and new setuptools.
    """

    name = "tensorboard"

    def __init__(self) -> None:
        super().__init__()
        self._step = -1
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
            # TensorBoard then forgets what the interrupted run wrote after its checkpoint.
            self._writer.add_event(self._event(wall_time=now, step=self._step + 1, session_log=self._restart))
            self._resuming = False
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in row.items()]
        self._writer.add_event(self._event(wall_time=now, step=step, summary=self._summary(value=values)))
        self._writer.flush()
        self._step = step
        self.rows += 1

    def state_dict(self) -> Dict[str, Any]:
        """Return the number of rows and the step of the last one."""
        return {"rows": self.rows, "step": self._step}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check the number of rows and the step."""
        require_keys(state, ("rows", "step"), "sink '{}'".format(self.name))
        super().validate_state({"rows": state["rows"]})
        if not isinstance(state["step"], int):
            raise StateError("sink '{}': step is {!r}".format(self.name, state["step"]))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Restore the number of rows and the step; called before :meth:`open`."""
        super().load_state_dict(state)
        self._step = state["step"]

    def close(self) -> None:
        """Close the writer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
