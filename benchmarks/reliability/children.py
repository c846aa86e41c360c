"""Child processes forked from a warm one: tens of milliseconds each instead of an import of torch."""

import json
import os
import select
import signal
import struct
import time
import traceback
from typing import Any, Callable, List, NamedTuple

import torch
from loguru import logger

AVAILABLE = hasattr(os, "fork")
_RECORD = struct.Struct("<cq")
_LONGEST = 120.0


class Event(NamedTuple):
    """What a child tells while it runs.

    Attributes:
        kind: One byte.
        number: An integer.
    """

    kind: bytes
    number: int


class Child:
    """A process that tells events over a pipe.

    Args:
        process: Its id.
        reader: The descriptor to read its events from.
    """

    def __init__(self, process: int, reader: int) -> None:
        self.process = process
        self.events: List[Event] = []
        self._reader = reader
        self._bytes = b""

    def wait_for(self, kind: bytes, count: int = 1, seconds: float = _LONGEST) -> bool:
        """Collect events until some of a kind have come; return False if time is over or the child has ended."""
        end = time.monotonic() + seconds
        while sum(event.kind == kind for event in self.events) < count:
            ready, _, _ = select.select([self._reader], [], [], max(0.0, end - time.monotonic()))
            if not ready or not self._collect():
                return False
        return True

    def wait_for_more(self, seconds: float = _LONGEST) -> bool:
        """Collect the next events; return False if time is over or the child has ended."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        return bool(ready) and self._collect()

    def _collect(self) -> bool:
        data = os.read(self._reader, 65536)
        self._bytes += data
        whole = len(self._bytes) // _RECORD.size * _RECORD.size
        self.events += [Event(*values) for values in _RECORD.iter_unpack(self._bytes[:whole])]
        self._bytes = self._bytes[whole:]
        return bool(data)

    def collect_for(self, seconds: float) -> None:
        """Collect events for a time, so that the child never waits for a reader."""
        end = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self._reader], [], [], max(0.0, end - time.monotonic()))
            if not ready or not self._collect():
                return

    def kill(self) -> None:
        """End the child by SIGKILL."""
        os.kill(self.process, signal.SIGKILL)

    def finish(self) -> int:
        """Collect what is left, wait for the end, and return the exit code, negative for a signal."""
        while self._collect():
            pass
        os.close(self._reader)
        _, status = os.waitpid(self.process, 0)
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def tell(descriptor: int, kind: bytes, number: int = 0) -> None:
    """Tell the parent an event; the write is atomic."""
    os.write(descriptor, _RECORD.pack(kind, number))


def fork(function: Callable[[int], Any]) -> Child:
    """Run a function in a forked process, which ends with it without any clean-up.

    Args:
        function: Gets a descriptor to :func:`tell` events by; what it raises is printed and ends the child with code 1.
    """
    reader, writer = os.pipe()
    # A process with several threads cannot be forked safely.
    torch.set_num_threads(1)
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.close(reader)
            logger.disable("AquaML")
            function(writer)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    return Child(process, reader)


def answer_of(function: Callable[[], Any]) -> Any:
    """Run a function in a forked process and return its answer, of plain JSON values.

    Raises:
        RuntimeError: The process ended without an answer.
    """
    reader, writer = os.pipe()

    def answer(unused: int) -> None:
        with os.fdopen(writer, "w") as file:
            json.dump(function(), file)

    child = fork(answer)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    code = child.finish()
    if code != 0:
        raise RuntimeError("a forked process ended with code {}".format(code))
    return json.loads(text)
