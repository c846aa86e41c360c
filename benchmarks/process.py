"""The parent's side of a contender: its process, its folder, its processor time."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional

from benchmarks.specification import Specification

REPOSITORY = Path(__file__).resolve().parents[1]
_LOG = "output.txt"
_LAST_LINES = 3
_PATIENCE = 10.0
"""Seconds that a contender has to end by itself."""


class ContenderError(Exception):
    """A contender cannot be built, or gave up."""


class Contender:
    """A process that builds a contender once and does a unit of its work on each command.

    It leads a process group of its own, so that worker processes count with it and end with it. Between units it waits
    on a pipe.

    Args:
        specification: What to build.
    """

    def __init__(self, specification: Specification) -> None:
        self.specification = specification
        self.introduction: Dict[str, Any] = {}
        self._folder = tempfile.TemporaryDirectory()
        self._output = Path(self._folder.name) / _LOG
        # Libraries write their runs into the working directory.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contenders.serve", specification.to_json(), str(self._output)],
            cwd=self._folder.name,
            env=dict(os.environ, PYTHONPATH=str(REPOSITORY)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # What is printed before the contender sends it to its file concerns only the interpreter.
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            start_new_session=True,
        )
        self._replies: "queue.Queue[Optional[str]]" = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._replies.put(line)
        self._replies.put(None)

    def wait_until_ready(self, seconds: float) -> None:
        """Wait until the contender stands before its first unit.

        Raises:
            ContenderError: It failed, or took longer.
        """
        self.introduction = self._reply(seconds)
        self.introduction.pop("ready")

    def unit(self, seconds: float) -> Dict[str, float]:
        """Let the contender do one unit of work and return what it timed.

        Raises:
            ContenderError: It failed, or took longer.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("unit\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ContenderError(self._last_words() or str(error)) from error
        return self._reply(seconds)

    def _reply(self, seconds: float) -> Dict[str, Any]:
        try:
            line = self._replies.get(timeout=seconds)
        except queue.Empty:
            raise ContenderError("no reply within {:.0f} s".format(seconds)) from None
        if line is None:
            raise ContenderError(self._last_words() or "the process ended without a word")
        reply: Dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ContenderError(self._without_paths(reply["error"]))
        return reply

    def _last_words(self) -> str:
        if not self._output.is_file():
            return ""
        lines = self._output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return self._without_paths(" / ".join(lines[-_LAST_LINES:]))

    def _without_paths(self, text: str) -> str:
        """Results tell nothing of the machine's folders."""
        for path in (self._folder.name, str(REPOSITORY), sys.prefix, str(Path.home())):
            text = text.replace(path, "…")
        return text

    def processor_seconds(self) -> Optional[float]:
        """Return the processor time that the process and its workers have used; None where the system hides it."""
        return group_processor_seconds(self._process.pid)

    def close(self) -> None:
        """End the process and all that it started, and remove its folder."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=_PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        if hasattr(os, "killpg"):
            # A library's worker processes may have outlived it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._folder.cleanup()


def group_processor_seconds(group: int) -> Optional[float]:
    """Return the processor time of all living processes of a process group, in seconds."""
    folder = Path("/proc")
    if not (folder / "self" / "stat").is_file():
        return None
    ticks = 0
    for entry in os.listdir(str(folder)):
        if entry.isdigit():
            fields = _fields(folder / entry / "stat")
            if len(fields) > 12 and int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / float(os.sysconf("SC_CLK_TCK"))


def machine_processor_seconds() -> Optional[float]:
    """Return the time that all processors together have been busy, in seconds; None where the system hides it."""
    path = Path("/proc/stat")
    if not path.is_file():
        return None
    user, nice, system, _, _, interrupt, soft_interrupt = path.read_text().splitlines()[0].split()[1:8]
    ticks = sum(int(value) for value in (user, nice, system, interrupt, soft_interrupt))
    return ticks / float(os.sysconf("SC_CLK_TCK"))


def _fields(path: Path) -> List[str]:
    """Return the fields of a process after its name: its state, its parent, its group and so on."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        # The process has ended meanwhile.
        return []
