"""What the operating system asks of a training run: to end, or to save and go on."""

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Dict, Iterable, List, Optional

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
_SAVING = "SIGUSR1"

_SAME_REQUEST = 0.25
"""Seconds within which further signals belong to the first: ``timeout`` signals its child and then the whole group,
service managers send SIGTERM and SIGHUP, and a wrapper passes on the Ctrl-C that the terminal sent already."""


class SignalWatch:
    """Notes signals while it is entered, so that the loop can act on them between two steps.

    Ctrl-C (SIGINT), SIGTERM, SIGHUP and, on Windows, Ctrl-Break ask for the end; SIGUSR1, where it exists, asks for a
    checkpoint. A later signal that asks for the end ends the process at once. A signal that the process ignores, as
    SIGHUP under ``nohup``, stays ignored. Outside the main thread nothing is watched, for Python allows it only there.

    A watch inside another one, where one training runs within another, passes on what it notes, so that both end.

    Attributes:
        ending: Number of the signal that asked for the end; None: none did.
        nested: Whether another watch was there before and has been told.
    """

    def __init__(self) -> None:
        self.ending: Optional[int] = None
        self.nested = False
        self._since = 0.0
        self._process = 0
        self._save_asked = False
        self._before: Dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """The conventional exit code of a program that a signal ended."""
        return 128 + (self.ending or 0)

    @property
    def ending_name(self) -> str:
        """Name of the signal that asked for the end; empty: none did."""
        return "" if self.ending is None else signal.Signals(self.ending).name

    def take_save_request(self) -> bool:
        """Return whether a checkpoint was asked for since the last call."""
        asked, self._save_asked = self._save_asked, False
        return asked

    def __enter__(self) -> "SignalWatch":
        self.ending, self.nested, self._save_asked, self._process = None, False, False, os.getpid()
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
            self.nested = self.nested or _watch_behind(before) is not None
            signal.signal(number, handler)

    def __exit__(self, *error: Any) -> None:
        for number, before in self._before.items():
            # A handler that somebody installed meanwhile is theirs to remove.
            if _watch_behind(signal.getsignal(number)) is self:
                signal.signal(number, before)
        self._before = {}

    def _on_end(self, number: int, frame: Optional[FrameType]) -> None:
        if os.getpid() != self._process:
            self._as_before(number, frame)
        elif self.ending is None:
            self._note(number)
            # Not through the logger: the signal may have come while this very thread held the logger's lock.
            _tell(
                "\n{}: finishing the step and saving. {} to end at once.\n".format(
                    self.ending_name, "Press Ctrl-C again" if number == signal.SIGINT else "Send it again"
                )
            )
        elif time.monotonic() - self._since > _SAME_REQUEST:
            _end_at_once(number)

    def _note(self, number: int) -> None:
        self.ending, self._since = number, time.monotonic()
        outer = _watch_behind(self._before.get(number))
        if outer is not None and outer.ending is None:
            outer._note(number)

    def _as_before(self, number: int, frame: Optional[FrameType]) -> None:
        """In a process that was forked while training: do what would have been done without this watch."""
        before = self._before.get(number, signal.SIG_DFL)
        if callable(before):
            before(number, frame)
        else:
            _end_by(number)

    def _on_save(self, number: int, frame: Optional[FrameType]) -> None:
        before = self._before.get(number, signal.SIG_DFL)
        if os.getpid() != self._process:
            self._as_before(number, frame)
            return
        self._save_asked = True
        if callable(before):
            # The program's own handler, or the training around this one, wants to know as well.
            before(number, frame)


def _watch_behind(handler: Any) -> Optional[SignalWatch]:
    owner = getattr(handler, "__self__", None)
    return owner if isinstance(owner, SignalWatch) else None


def _end_at_once(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    _end_by(number)


def _end_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _tell(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # The terminal may be the very thing that is gone, and a program without a console has no stderr.
        os.write(sys.stderr.fileno(), text.encode("ascii"))


def _numbers(names: Iterable[str]) -> List[int]:
    return [int(getattr(signal, name)) for name in names if hasattr(signal, name)]
