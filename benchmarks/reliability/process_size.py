"""What a process holds: memory, open files, threads."""

import gc
import os
import threading
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc/self")
"""Where Linux tells; other systems do not have it."""


class ProcessSize(NamedTuple):
    """What the process holds.

    Attributes:
        resident_bytes: Memory in use, without what the system has set aside only.
        descriptors: Open files, pipes and sockets.
        threads: Threads of the system.
    """

    resident_bytes: int
    descriptors: int
    threads: int


def process_size() -> ProcessSize:
    """Measure the process after collecting its garbage.

    Raises:
        RuntimeError: The system is not Linux.
    """
    if not PROC.is_dir():
        raise RuntimeError("The size of a process is read from /proc, which only Linux has.")
    gc.collect()
    pages = int((PROC / "statm").read_text(encoding="ascii").split()[1])
    threads = len(os.listdir(str(PROC / "task"))) if (PROC / "task").is_dir() else threading.active_count()
    # The listing itself is an open file.
    return ProcessSize(pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(str(PROC / "fd"))) - 1, threads)
