"""Takes protections away one at a time and shows that a test notices.

A protection whose removal no test notices is a promise without a proof. Each entry of ``protection_list.py`` is a
change of one place in a copy of the package, and the test that fails with it.

Run ``python -m benchmarks.reliability.protections``.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

from benchmarks.reliability.protection_list import PROTECTIONS, Protection

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("AquaML", "benchmarks", "examples", "tests", "setup.py", "pyproject.toml", "README.md")
_LONGEST = 300
"""Seconds that a test may take; one that hangs without its protection has noticed too."""


class Outcome(NamedTuple):
    """What a test said with and without a protection."""

    name: str
    passes_with: bool
    fails_without: bool


def occurrences(root: Path = ROOT) -> Dict[str, int]:
    """Return how often the text of each protection occurs in its file; a list that is up to date has ones."""
    return {entry.name: (root / entry.file).read_text(encoding="utf-8").count(entry.code) for entry in PROTECTIONS}


def try_out(names: Optional[List[str]] = None) -> List[Outcome]:
    """Take each protection away in a copy of the repository and run its test.

    Args:
        names: Which ones; None: all.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy.mkdir()
        for name in _COPIED:
            source, target = ROOT / name, copy / name
            if source.is_dir():
                shutil.copytree(str(source), str(target), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(str(source), str(target))
        outcomes = []
        for entry in PROTECTIONS:
            if names is None or entry.name in names:
                outcomes.append(_try_one(entry, copy))
                print("{}: {}".format(entry.name, verdict(outcomes[-1])), flush=True)
    return outcomes


def _try_one(entry: Protection, copy: Path) -> Outcome:
    file = copy / entry.file
    whole = file.read_text(encoding="utf-8")
    passes = _passes(entry.test, copy)
    try:
        file.write_text(whole.replace(entry.code, entry.without), encoding="utf-8")
        fails = not _passes(entry.test, copy)
    finally:
        file.write_text(whole, encoding="utf-8")
    return Outcome(entry.name, passes, fails)


def _passes(test: str, copy: Path) -> bool:
    environment = dict(os.environ, PYTHONPATH=str(copy), OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    try:
        result = subprocess.run(
            command,
            check=False,
            cwd=str(copy),
            env=environment,
            timeout=_LONGEST,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def verdict(outcome: Outcome) -> str:
    """Return the outcome in words."""
    if not outcome.passes_with:
        return "the test fails even with the protection"
    return "noticed" if outcome.fails_without else "NOT noticed"


def main(arguments: Optional[List[str]] = None) -> int:
    """Try all, or those named; return 1 if one is not noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="protections (default: all)")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - {entry.name for entry in PROTECTIONS}
    if unknown:
        parser.error("there is no protection {}".format(", ".join(repr(name) for name in sorted(unknown))))
    outcomes = try_out(options.names or None)
    noticed = sum(outcome.passes_with and outcome.fails_without for outcome in outcomes)
    print("{} of {} removals are noticed".format(noticed, len(outcomes)))
    return 0 if noticed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
