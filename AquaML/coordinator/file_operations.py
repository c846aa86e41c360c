"""Every operation on files that saving needs, and how one file is written so that no fault leaves half of it.

The recipe is that of Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014): write a new file in the same
folder, bring it to the disk, rename it, bring the folder to the disk.
"""

import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any, BinaryIO, Callable, Union

_REPLACE_ATTEMPTS = 20
_REPLACE_PAUSE = 0.05
TEMPORARY_SUFFIX = ".tmp"

Data = Union[bytes, memoryview]


class FileOperations:
    """The operations themselves; a subclass can record them or let them fail."""

    def create(self, path: Path) -> BinaryIO:
        """Open a file that must not exist yet, unbuffered, so that every write is one operation."""
        return open(str(path), "xb", buffering=0)

    def write(self, file: BinaryIO, data: Data) -> None:
        """Write all of ``data``; the system may take it in several pieces."""
        rest = memoryview(data).cast("B")
        while len(rest):
            rest = rest[file.write(rest) :]

    def sync(self, file: BinaryIO) -> None:
        """Bring a file's content to the disk itself."""
        file.flush()
        if sys.platform == "darwin":
            import fcntl

            # On macOS fsync leaves the data in the drive's cache.
            fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
        else:
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
        descriptor = os.open(str(folder), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()


def replace_file(target: Path, produce: Callable[[Callable[[Data], None]], Any], operations: FileOperations) -> None:
    """Write a file so that its name holds the former or the whole new content at every moment, even after power loss.

    Args:
        target: The file; its folder exists.
        produce: Gets a function that appends bytes, and calls it as often as it likes.
        operations: How files are touched.

    Raises:
        OSError: Something failed; what ``target`` held is unchanged, unless the folder alone could not be brought to
            the disk: then it may hold either.
    """
    temporary = target.with_name(".{}{}".format(uuid.uuid4().hex, TEMPORARY_SUFFIX))
    try:
        with operations.create(temporary) as file:
            produce(lambda data: operations.write(file, data))
            operations.sync(file)
        operations.replace(temporary, target)
    except BaseException:
        remove_leftover(temporary, operations)
        raise
    operations.sync_folder(target.parent)


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
        for path in sorted(folder.glob(".*" + TEMPORARY_SUFFIX)):
            remove_leftover(path, operations)
