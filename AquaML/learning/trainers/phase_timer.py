"""Where the time of a run goes."""

import time
from typing import Dict, Optional


class PhaseTimer:
    """Adds up the wall time of named phases since the last :meth:`read`.

    On an accelerator work is only handed over; the phase that waits for it is the one that is charged.
    """

    def __init__(self) -> None:
        self._seconds: Dict[str, float] = {}
        self._phase: Optional[str] = None
        self._since = 0.0

    def enter(self, phase: Optional[str]) -> None:
        """End the phase under way and begin another; None: begin none."""
        now = time.perf_counter()
        if self._phase is not None:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def read(self) -> Dict[str, float]:
        """Return seconds by phase and begin anew."""
        seconds, self._seconds = self._seconds, {}
        return seconds
