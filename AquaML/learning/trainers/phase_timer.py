"""Where the time of a run goes."""

import contextlib
import time
from typing import Dict, Iterator


class PhaseTimer:
    """Adds up the wall time of named phases since the last :meth:`read`.

    On an accelerator work is only handed over; the phase that waits for it is the one that is charged.
    """

    def __init__(self) -> None:
        self._seconds: Dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge what happens inside to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start

    def read(self) -> Dict[str, float]:
        """Return seconds by phase and begin anew."""
        seconds, self._seconds = self._seconds, {}
        return seconds
