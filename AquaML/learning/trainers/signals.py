"""What the operating system asks of a training run: to end, or to save and go on."""

import os
import signal
import threading
from types import FrameType
from typing import Any, Dict, List, Optional

from loguru import logger

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
_SAVING = "SIGUSR1"


class SignalWatch:
    """Notes signals while it is entered, so that the loop can act on them between two steps.

    Ctrl-C (SIGINT), SIGTERM, SIGHUP and, on Windows, Ctrl-Break ask for the end; SIGUSR1, where it exists, asks for a
    checkpoint. A second signal that asks for the end ends the process at once. A signal that the process ignores, as
    SIGHUP under ``nohup``, stays ignored. Outside the main thread nothing is watched, for Python allows it only there.
    """

    def __init__(self) -> None:
        self.ending: Optional[int] = None
        self._save_asked = False
        self._before: Dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """The conventional exit code of a program that a signal ended."""
        return 128 + (self.ending or 0)

    def take_save_request(self) -> bool:
        """Return whether a checkpoint was asked for since the last call."""
        asked, self._save_asked = self._save_asked, False
        return asked

    def __enter__(self) -> "SignalWatch":
        self.ending = None
        if threading.current_thread() is threading.main_thread():
            for number in _numbers(_ENDING):
                self._watch(number, self._on_end)
            for number in _numbers((_SAVING,)):
                self._watch(number, self._on_save)
        return self

    def _watch(self, number: int, handler: Any) -> None:
        before = signal.getsignal(number)
        # None: a handler that Python did not install, and could not put back.
        if before is not signal.SIG_IGN and before is not None:
            self._before[number] = before
            signal.signal(number, handler)

    def __exit__(self, *error: Any) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _on_end(self, number: int, frame: Optional[FrameType]) -> None:
        if self.ending is not None:
            self._end_at_once(number)
        self.ending = number
        logger.warning(
            "{}: finishing the step and saving. {} to end at once.",
            signal.Signals(number).name,
            "Press Ctrl-C again" if number == signal.SIGINT else "Send it again",
        )

    def _end_at_once(self, number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _on_save(self, number: int, frame: Optional[FrameType]) -> None:
        self._save_asked = True


def _numbers(names: Any) -> List[int]:
    return [int(getattr(signal, name)) for name in names if hasattr(signal, name)]
