"""Runs the same trainings in cold processes that differ in all that must not matter, and compares every bit.

Each process has another seed of Python's hashes, working directory, time zone, locale, and number of workers.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch

from benchmarks.reliability.resumable_runs import KINDS
from benchmarks.reliability.resume import differences, digests_of

FEW = ("ppo, Pendulum batched", "custom agent, Discrete batched", "ppo, Dict sharded")
"""Kinds of runs for a reduced campaign."""
_ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Pacific/Apia")
_LOCALES = ("C", "C.UTF-8")


def run(count: int, seed: int, kinds: Optional[List[str]] = None) -> Dict[str, Any]:
    """Train in cold processes and compare.

    Args:
        count: Processes.
        seed: Of the first process's hashes.
        kinds: Names of kinds; None: a few for up to three processes, else all whose packages are installed.

    Returns:
        ``"processes"``, ``"equal"`` (to the first, which counts), ``"kinds"``, ``"digests"`` per process, and
        ``"different"``: process to what differs.
    """
    names = list(kinds or (FEW if count <= 3 else KINDS))
    names = [name for name in names if _installed(KINDS[name].needs)]
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for first in range(0, count, 2):
            # Two at a time, for each takes one core.
            pair = [_start(number, seed, names, Path(folder)) for number in range(first, min(first + 2, count))]
            found += [_result(process) for process in pair]
    different = {}
    for number, digests in enumerate(found):
        if digests != found[0]:
            different[str(number)] = differences(found[0], digests)
    return {
        "processes": count,
        "equal": count - len(different),
        "kinds": len(names),
        "digests": len(found[0]),
        "different": different,
    }


def _installed(package: Optional[str]) -> bool:
    return package is None or importlib.util.find_spec(package) is not None


def _start(number: int, seed: int, names: List[str], folder: Path) -> "subprocess.Popen[bytes]":
    place = folder / ("place " + "x" * number)
    place.mkdir()
    environment = dict(
        os.environ,
        PYTHONHASHSEED=str(seed + number),
        PYTHONPATH=os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]),
        TZ=_ZONES[number % len(_ZONES)],
        LC_ALL=_LOCALES[number % len(_LOCALES)],
        OMP_NUM_THREADS="1",
    )
    command = [sys.executable, "-m", __name__, str(1 + number % 4)] + names
    return subprocess.Popen(command, cwd=str(place), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _result(process: "subprocess.Popen[bytes]") -> Dict[str, str]:
    output, errors = process.communicate()
    if process.returncode != 0:
        raise RuntimeError("a process failed: {}".format(errors.decode(errors="replace")[-2000:]))
    digests: Dict[str, str] = json.loads(output.decode("ascii").splitlines()[-1])
    return digests


def main(arguments: Optional[List[str]] = None) -> None:
    """Train every kind that is named and print the digests as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workers", type=int)
    parser.add_argument("kinds", nargs="+", choices=list(KINDS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = {}
    for index, name in enumerate(options.kinds):
        kind = KINDS[name]
        env_options = {"workers": options.workers} if kind.vectorization == "sharded" else {}
        digests = digests_of(kind, Path("run {}".format(index)), env_options=env_options)
        found.update({"{}: {}".format(name, part): digest for part, digest in digests.items()})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
