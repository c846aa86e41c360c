"""One process at a time in a run folder, by a lock that the operating system takes back when its holder dies."""

import datetime
import errno
import json
import os
import socket
import weakref
from pathlib import Path
from typing import Any, BinaryIO, Optional

from loguru import logger

from AquaML.errors import RunFolderInUseError, TrainerError

LOCK_FILE = "run.lock"
_LOCKED_BYTE = 2**20
"""Windows locks bytes, and nobody can read those; this one lies behind the text."""
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_HELD_BY_ANOTHER = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, getattr(errno, "EDEADLOCK", errno.EACCES))
"""What a lock that is taken is answered with, the last two on Windows."""


class RunLock:
    """The lock of a run folder.

    Nothing can be left over: a killed process holds no lock. The file stays, because deleting it could let two runs in.

    Args:
        folder: The run folder, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_FILE
        self._file: Optional[BinaryIO] = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RunFolderInUseError: Another run, in this process or another, holds it.
            TrainerError: The folder takes no file.
        """
        try:
            file = os.fdopen(os.open(str(self.path), os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
            try:
                self._take(file)
            except BaseException:
                file.close()
                raise
        except OSError as error:
            raise TrainerError(
                "Cannot lock the run folder: '{}': {}; choose another run_directory.".format(self.path, error)
            ) from error
        self._file = file
        _held.add(self)
        _describe(file)

    def _take(self, file: BinaryIO) -> None:
        try:
            _lock(file)
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                raise RunFolderInUseError(
                    "The run folder '{}' is in use by {}. Wait for it or stop it, or start another run by another "
                    "run_name.".format(self.path.parent, _owner(file))
                ) from error
            if error.errno not in _UNSUPPORTED:
                raise
            logger.warning(
                "'{}': this file system has no locks ({}); do not let two runs share the folder.", self.path, error
            )

    def release(self) -> None:
        """Give the lock back; without one nothing happens."""
        if self._file is not None:
            self._file.close()
            self._file = None
            _held.discard(self)


_held: "weakref.WeakSet[RunLock]" = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    """Close the locks in a forked child, which would else hold them on after its parent was killed."""
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)


def _lock(file: BinaryIO) -> None:
    if os.name == "nt":
        import msvcrt

        locking: Any = msvcrt
        file.seek(_LOCKED_BYTE)
        locking.locking(file.fileno(), locking.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _describe(file: BinaryIO) -> None:
    started = "{:%Y-%m-%d %H:%M:%S}".format(datetime.datetime.now())
    text = json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": started})
    try:
        file.seek(0)
        file.truncate()
        file.write(text.encode("utf-8"))
    except OSError as error:
        # Who holds it is written for people only; the lock is held either way.
        logger.warning("Cannot note the owner in '{}': {}.", file.name, error)


def _owner(file: BinaryIO) -> str:
    try:
        file.seek(0)
        values = json.loads(file.read().decode("utf-8"))
        return "process {process} on {host}, since {since}".format(**values)
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
