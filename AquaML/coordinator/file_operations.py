"""Every operation on files that saving needs, and how one file is written so that no fault leaves half of it.

The recipe is that of Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014): write a new file in the same
folder, bring it to the disk, rename it, bring the folder to the disk.
"""

import errno
import os
import re
import shutil
import sys
import time
import uuid
from pathlib import Path
from typing import Any, BinaryIO, Callable, List, Union

_REPLACE_ATTEMPTS = 20
_REPLACE_PAUSE = 0.05
_LARGE = 2**18
TEMPORARY_SUFFIX = ".tmp"
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}" + re.escape(TEMPORARY_SUFFIX) + r"$")
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)
"""What file systems answer that cannot bring a folder to the disk, or need not: some of FUSE, SMB and 9P."""
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))

Data = Union[bytes, bytearray, memoryview]


class FileOperations:
    """The operations themselves; a subclass can record them or let them fail."""

    def create(self, path: Path) -> BinaryIO:
        """Open a file that must not exist yet, unbuffered, so that every write is one operation."""
        return open(str(path), "xb", buffering=0)

    def write(self, file: BinaryIO, data: Data) -> None:
        """Write all of ``data``; the system may take it in several pieces."""
        rest = memoryview(data).cast("B")
        while len(rest):
            rest = rest[self.write_piece(file, rest) :]

    def write_piece(self, file: BinaryIO, data: memoryview) -> int:
        """Write at least one byte of ``data`` and return how many were taken."""
        return file.write(data)

    def sync(self, file: BinaryIO) -> None:
        """Bring a file's content to the disk itself."""
        file.flush()
        if sys.platform == "darwin":
            import fcntl

            try:
                # On macOS fsync leaves the data in the drive's cache.
                fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
                return
            except OSError as error:
                if error.errno not in _NO_FOLDER_SYNC:
                    raise
        os.fsync(file.fileno())

    def replace(self, source: Path, target: Path) -> None:
        """Give a file another name at once, in place of what had it."""
        for attempt in range(_REPLACE_ATTEMPTS):
            try:
                os.replace(str(source), str(target))
                return
            except PermissionError:
                # Windows refuses while a reader or a virus scanner has the target open.
                if os.name != "nt" or attempt == _REPLACE_ATTEMPTS - 1:
                    raise
                time.sleep(_REPLACE_PAUSE)

    def sync_folder(self, folder: Path) -> None:
        """Bring a folder's entries to the disk; Windows does so by itself."""
        if os.name == "nt":
            return
        try:
            descriptor = os.open(str(folder), os.O_RDONLY)
        except PermissionError:
            # A folder in which one may write but not read, as a drop box, cannot be opened.
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(descriptor)

    def make_folder(self, folder: Path) -> None:
        """Make one folder, which must not exist yet."""
        folder.mkdir()

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()


def make_folders(folder: Path, operations: FileOperations, exist_ok: bool = True) -> None:
    """Make a folder with all that is missing above it, and bring each new entry to the disk.

    A file that was brought to the disk is lost all the same if the entry of a folder above it was not.

    Raises:
        OSError: One of them cannot be made; FileExistsError: something is at ``folder``, and it is no folder or
            ``exist_ok`` is False.
    """
    missing: List[Path] = []
    place = folder
    while not place.is_dir() and place != place.parent:
        missing.append(place)
        place = place.parent
    if not missing and not exist_ok:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
    for place in reversed(missing):
        try:
            operations.make_folder(place)
        except FileExistsError:
            # Another process may have made one that lies above, or this one where it need not be new.
            if not place.is_dir() or (place == folder and not exist_ok):
                raise
        operations.sync_folder(place.parent)


def replace_file(target: Path, produce: Callable[[Callable[[Data], None]], Any], operations: FileOperations) -> None:
    """Write a file so that its name holds the former or the whole new content at every moment, even after power loss.

    Args:
        target: The file; its folder exists.
        produce: Gets a function that appends bytes, and calls it as often as it likes.
        operations: How files are touched.

    Raises:
        OSError: Something failed; what ``target`` held is unchanged, unless the folder alone could not be brought to
            the disk: then it holds the new content, and after a power loss either.
    """
    temporary = target.with_name(".{}{}".format(uuid.uuid4().hex, TEMPORARY_SUFFIX))
    try:
        with operations.create(temporary) as file:
            pieces = _Pieces(lambda data: operations.write(file, data))
            produce(pieces.append)
            pieces.flush()
            operations.sync(file)
        operations.replace(temporary, target)
    except BaseException:
        remove_leftover(temporary, operations)
        raise
    operations.sync_folder(target.parent)


class _Pieces:
    """Joins small pieces, so that a file of many parts is not written by as many calls of the system."""

    def __init__(self, write: Callable[[Data], None]) -> None:
        self._write = write
        self._waiting = bytearray()

    def append(self, data: Data) -> None:
        """Take a piece; a large one is written without being copied."""
        if len(data) >= _LARGE:
            self.flush()
            self._write(data)
        else:
            self._waiting += data
            if len(self._waiting) >= _LARGE:
                self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            waiting, self._waiting = self._waiting, bytearray()
            self._write(waiting)


def replace_text(target: Path, text: str, operations: FileOperations) -> None:
    """Write a text file in UTF-8 by :func:`replace_file`."""
    replace_file(target, lambda write: write(text.encode("utf-8")), operations)


def remove_leftover(path: Path, operations: FileOperations) -> None:
    """Delete a temporary file if it is there; one that stays is swept when its folder is next opened."""
    try:
        if path.exists():
            operations.remove(path)
    except OSError:
        return


def sweep_leftovers(folder: Path, operations: FileOperations) -> None:
    """Delete the temporary files of processes that were killed; nobody else may be writing in the folder."""
    if folder.is_dir():
        for name in sorted(os.listdir(str(folder))):
            if _TEMPORARY.match(name):
                remove_leftover(folder / name, operations)


def room_and_need(error: OSError, folder: Path, needed: int) -> str:
    """Return how many bytes were needed and how many are free, if that is what an error is about; else nothing."""
    if error.errno not in _NO_ROOM:
        return ""
    text = "{} are needed".format(readable_size(needed))
    try:
        free = readable_size(shutil.disk_usage(str(folder)).free)
    except OSError:
        return " ({})".format(text)
    return " ({}, {} are free on that disk)".format(text, free)


def readable_size(count: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return "{:.1f} {}".format(count / size, unit)
    return "{} bytes".format(count)
