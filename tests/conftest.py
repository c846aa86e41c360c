"""What all tests share: no test leaves anything in the working directory or in the process."""

import signal
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
import torch
from loguru import logger

from AquaML.coordinator.coordinator import set_default_coordinator


def pytest_configure() -> None:
    """Heed signals even when the tests were started by ``nohup`` or in the background of a script.

    Those let them ignore SIGHUP or SIGINT, and every process that a test starts would inherit that.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def clean_process(tmp_path: Path, monkeypatch: Any) -> Iterator[None]:
    """Run every test in a folder of its own, with a fixed seed and a new default coordinator."""
    # Tests run side by side; each takes one core.
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    torch.manual_seed(0)
    set_default_coordinator(None)
    yield
    set_default_coordinator(None)


@pytest.fixture
def log_lines() -> Iterator[list]:
    """Collect the messages that loguru gets, as ``"LEVEL message"``."""
    lines: list = []
    handler = logger.add(
        lambda message: lines.append(str(message).rstrip("\n")), format="{level} {message}", level="DEBUG"
    )
    yield lines
    logger.remove(handler)
