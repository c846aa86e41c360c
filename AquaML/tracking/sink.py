"""What a sink for figures is."""

import abc
from pathlib import Path
from typing import Any, Dict

from AquaML.errors import StateError
from AquaML.stateful import Stateful, require_keys


class Sink(Stateful, abc.ABC):
    """Takes rows of figures during a run. Write a subclass and hand it to the trainer to log elsewhere.

    A sink opens its files in :meth:`open`, never before. Its state is the number of rows written, so that a resumed
    run goes on after the row of its checkpoint.
    """

    name = "sink"

    def __init__(self) -> None:
        self.rows = 0

    @abc.abstractmethod
    def open(self, folder: Path, configuration: Dict[str, Any]) -> None:
        """Begin; :attr:`rows` tells how many rows of an earlier part of the run are valid.

        Args:
            folder: The run's folder.
            configuration: The run's configuration as plain values.
        """

    @abc.abstractmethod
    def write(self, step: int, row: Dict[str, float]) -> None:
        """Take one row.

        Args:
            step: Environment steps so far.
            row: Name to figure.
        """

    def close(self) -> None:
        """End; calling it twice is no error."""

    def state_dict(self) -> Dict[str, Any]:
        """Return the number of rows."""
        return {"rows": self.rows}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check the number of rows."""
        require_keys(state, ("rows",), "sink '{}'".format(self.name))
        if not isinstance(state["rows"], int) or state["rows"] < 0:
            raise StateError("sink '{}': rows is {!r}".format(self.name, state["rows"]))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Restore the number of rows; called before :meth:`open`, and between the last row and :meth:`close` where that
        row belongs to a window that a resumed run completes.
        """
        self.rows = state["rows"]
