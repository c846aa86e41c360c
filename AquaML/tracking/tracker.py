"""Hands figures to all sinks of a run."""

from pathlib import Path
from typing import Any, Dict, List, Sequence

from loguru import logger

from AquaML.errors import MissingDependencyError
from AquaML.stateful import RUN, Part
from AquaML.tracking.sink import Sink


class Tracker:
    """All sinks of a run; one that fails is reported once and left out from then on, and training goes on.

    Args:
        sinks: The sinks.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks: List[Sink] = list(sinks)
        self._working: List[Sink] = []

    @property
    def parts(self) -> List[Part]:
        """The sinks' positions; sinks of one name are numbered."""
        names = [sink.name for sink in self.sinks]
        earlier = [names[:index].count(name) for index, name in enumerate(names)]
        return [
            Part("{}_{}".format(sink.name, count + 1) if count else sink.name, RUN, sink)
            for sink, count in zip(self.sinks, earlier)
        ]

    def open(self, folder: Path, configuration: Dict[str, Any]) -> None:
        """Open every sink.

        Raises:
            MissingDependencyError: A sink that was asked for needs a package that is not installed.
        """
        self._working = []
        for sink in self.sinks:
            try:
                sink.open(folder, configuration)
                self._working.append(sink)
            except MissingDependencyError:
                self.close()
                raise
            except Exception as error:
                self._leave_out(sink, error)

    def write(self, step: int, row: Dict[str, float]) -> None:
        """Hand a row to every working sink.

        Args:
            step: Environment steps so far.
            row: Name to figure.
        """
        for sink in list(self._working):
            try:
                sink.write(step, row)
            except Exception as error:
                self._working.remove(sink)
                self._leave_out(sink, error)

    def _leave_out(self, sink: Sink, error: Exception) -> None:
        logger.warning(
            "The sink '{}' failed and is left out from now on; training goes on: {}: {}",
            sink.name,
            type(error).__name__,
            error,
        )

    def close(self) -> None:
        """Close every working sink."""
        for sink in self._working:
            try:
                sink.close()
            except Exception as error:
                self._leave_out(sink, error)
        self._working = []
