"""loguru and the progress bar in a real process: every line begins at a line's start and is whole."""

import os
import re
import struct
import subprocess
import sys
from typing import List, Tuple

import pytest

BAR = """
import sys
from loguru import logger
{before}
from AquaML.tracking.console import ProgressBar
bar = ProgressBar(60, 0, {disable})
for step in range(60):
    bar.advance(1)
    bar.show({{"return": "-12.5"}})
    if step % 6 == 0:
        logger.info("line number {{}} of the log", step)
{during}
bar.close()
bar.close()
logger.info("line number 999 of the log")
{after}
"""
LINES = list(range(0, 60, 6)) + [999]


def run(before: str = "", during: str = "", after: str = "", disable: bool = False) -> Tuple[str, str]:
    code = BAR.format(before=before, during=during, after=after, disable=disable)
    result = subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert result.returncode == 0, result.stderr.decode("utf-8")
    return result.stdout.decode("utf-8"), result.stderr.decode("utf-8")


def numbers(lines: List[str]) -> List[int]:
    return [
        int(match.group(1)) for line in lines for match in [re.search(r"line number (\d+) of the log$", line)] if match
    ]


def pieces(text: str) -> List[str]:
    """Split what a terminal gets where the cursor goes back to a line's start; colours are no characters."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text))


def check(text: str) -> None:
    logged = [piece for piece in pieces(text) if "line number" in piece]
    assert numbers(logged) == LINES
    for piece in logged:
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \| INFO ", piece), piece
    assert re.search(r"100%\|.*60/60.*return=-12\.5", text)


def test_through_a_pipe() -> None:
    out, err = run()
    assert out == ""
    check(err)


def test_on_a_terminal() -> None:
    pty = pytest.importorskip("pty")  # Windows has none
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    code = BAR.format(before="", during="", after="", disable=False)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    received = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # Linux reports the end of a terminal as an error.
            break
        if not data:
            break
        received += data
    os.close(ours)
    assert process.wait() == 0
    check(received.decode("utf-8"))


def test_without_a_bar_loguru_is_as_it_was() -> None:
    _, err = run(disable=True, after="logger.remove(0)\nlogger.info('nobody hears this')")
    assert numbers(err.splitlines()) == LINES and "\r" not in err and "%|" not in err and "nobody" not in err


def test_handlers_of_the_user_stay() -> None:
    before = "mine = logger.add(sys.stdout, format='MINE {message}', level='INFO')"
    during = "later = logger.add('later.log', format='LATER {message}')"
    out, err = run(before=before, during=during, after="logger.remove(mine); logger.remove(later)")
    assert out.splitlines() == ["MINE line number {} of the log".format(number) for number in LINES]
    check(err)
    with open("later.log", encoding="utf-8") as file:
        assert file.read() == "LATER line number 999 of the log\n"


def test_none_is_added_when_the_user_removed_the_default_one() -> None:
    out, err = run(before="logger.remove()\nlogger.add(sys.stdout, format='MINE {message}')")
    assert numbers(out.splitlines()) == LINES and "line number" not in err
    silent, err = run(before="logger.remove()")
    assert silent == "" and "line number" not in err


def test_a_second_bar_adds_no_second_handler() -> None:
    _, err = run(during="bar.close(); bar = ProgressBar(60, 58, False); bar.advance(2)")
    assert numbers(pieces(err)) == LINES


def test_the_level_that_the_user_asked_for_holds() -> None:
    environment = dict(os.environ, LOGURU_LEVEL="WARNING")
    code = BAR.format(before="", during="logger.warning('careful')", after="", disable=False)
    result = subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.PIPE, env=environment)
    text = result.stderr.decode("utf-8")
    assert result.returncode == 0 and "careful" in text and "line number" not in text
