"""The progress bar, and log lines that do not break it."""

import sys
from typing import Any, Dict

from loguru import logger
from tqdm import tqdm


class ProgressBar:
    """A tqdm bar on stderr that loguru's lines leave whole.

    loguru's default handler (number 0) writes straight to stderr, into the bar's line. The first bar of a process
    replaces it by one that writes above the bar; handlers that the user added or configured are left alone.

    Args:
        total: Vector steps of the whole run.
        initial: Vector steps done already.
        disable: True: no bar, and loguru stays as it is.
    """

    def __init__(self, total: int, initial: int, disable: bool) -> None:
        if not disable:
            keep_log_above_bars()
        self._bar: Any = tqdm(
            total=total, initial=initial, disable=disable, unit="step", dynamic_ncols=True, leave=True
        )
        self.shown = not disable

    def advance(self, steps: int) -> None:
        """Move on."""
        if self.shown:
            self._bar.update(steps)

    def show(self, figures: Dict[str, str]) -> None:
        """Show figures, such as the mean return and steps per second, until others are given."""
        if self.shown and figures:
            self._bar.set_postfix(figures, refresh=False)

    def close(self) -> None:
        """Draw the last state and end the line."""
        self._bar.close()


def keep_log_above_bars() -> None:
    """Let loguru's default handler write through tqdm; nothing happens if that handler is gone."""
    try:
        logger.remove(0)
    except ValueError:
        return
    logger.add(_write_above_bars, colorize=sys.stderr.isatty())


def _write_above_bars(message: str) -> None:
    tqdm.write(str(message), file=sys.stderr, end="")
