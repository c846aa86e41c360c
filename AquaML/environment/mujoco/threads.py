"""A team of threads that shares out robots; the numbers do not depend on who computes what."""

import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Callable, Deque, Optional, Sequence

from AquaML.errors import EnvironmentContractError

_WORTH_A_THREAD = 5e-4
"""Seconds of work for each thread below which waking it costs more than it saves (measured: 0.1 to 0.2 ms)."""
_MEMORY = 0.9
"""Weight of earlier rounds in the average of what one row costs."""


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ThreadTeam:
    """The calling thread and helpers, which take the next row whenever they have done one.

    A robot in contact takes longer than one in the air, so portions of equal size would not end together.

    Args:
        threads: Number of threads, the calling one among them; None: as many as this process has cores.
        most: Number of rows; more threads than that are never of use.

    Raises:
        EnvironmentContractError: The number of threads is below 1.
    """

    def __init__(self, threads: Optional[int], most: int) -> None:
        if threads is not None and threads < 1:
            raise EnvironmentContractError("threads is {}; expected None or at least 1.".format(threads))
        self.threads = min(threads or available_cores(), most)
        self._helpers = ThreadPoolExecutor(self.threads - 1, "mujoco") if self.threads > 1 else None
        self._seconds_per_row: Optional[float] = None

    def run(self, work: Callable[[int], None], rows: Sequence[int]) -> None:
        """Call ``work(row)`` once for each row; no more threads take part than there is work for.

        Raises:
            EnvironmentContractError: The work for a row failed; the message names the row.
        """
        # Threads may share a deque, in an interpreter without a global lock, too; not so an iterator.
        shared = deque(rows)
        helpers = []
        if self._helpers is not None:
            helpers = [self._helpers.submit(_take, shared, work) for _ in range(self._wanted(len(rows)) - 1)]
        begun = time.perf_counter()
        try:
            done = _take(shared, work)
        finally:
            if helpers:
                wait(helpers)
        if done:
            self._learn((time.perf_counter() - begun) / done)
        for helper in helpers:
            helper.result()

    def _wanted(self, rows: int) -> int:
        if self._seconds_per_row is None:
            return 1
        return min(self.threads, rows, int(rows * self._seconds_per_row / _WORTH_A_THREAD))

    def _learn(self, seconds: float) -> None:
        known = self._seconds_per_row
        self._seconds_per_row = seconds if known is None else _MEMORY * known + (1 - _MEMORY) * seconds

    def close(self) -> None:
        """End the helpers; what is run from now on is done by the calling thread."""
        if self._helpers is not None:
            self._helpers.shutdown()
            self._helpers = None


def _take(rows: Deque[int], work: Callable[[int], None]) -> int:
    done = 0
    while True:
        try:
            row = rows.popleft()
        except IndexError:
            return done
        try:
            work(row)
        except Exception as error:
            raise EnvironmentContractError(
                "Environment {}: MuJoCo failed with {}: {}".format(row, type(error).__name__, error)
            ) from error
        done += 1
