"""Trains PPO on real simulators: ``python -m benchmarks.simulators brax --seeds 0 1``.

Each simulator needs an environment of its own, which ``tests/run_simulators.py`` makes. Rows that the results already
hold are left out.
"""

import argparse
import datetime
import importlib
import platform
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch

import AquaML
from benchmarks.learning_scores import append, read
from benchmarks.machine import version_of
from benchmarks.simulators.task import Score, Task, train

RESULTS = Path(__file__).resolve().parents[1] / "results" / "simulator_scores.csv"
SIMULATORS = ("brax", "playground", "pettingzoo", "genesis", "mjlab", "maniskill")
"""Modules of this package, each with ``TASKS``."""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run what is missing from the results; return 1 if a score falls short."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulators", description=__doc__.splitlines()[0])
    parser.add_argument("simulator", choices=SIMULATORS)
    parser.add_argument("--tasks", nargs="+", help="which ones (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    tasks: Dict[str, Task] = importlib.import_module("benchmarks.simulators." + options.simulator).TASKS
    done = {(row["simulator"], row["task"], row["seed"]) for row in read(options.results)}
    short = False
    for name in options.tasks or list(tasks):
        for seed in options.seeds:
            if (options.simulator, name, str(seed)) in done:
                continue
            score = train(tasks[name], seed)
            append(options.results, _row(options.simulator, name, seed, tasks[name], score))
            print("{} {} seed {}: {:.2f}".format(options.simulator, name, seed, score.trained), flush=True)
            score.env.close()
            short = short or score.trained < tasks[name].must
    return int(short)


def _row(simulator: str, name: str, seed: int, task: Task, score: Score) -> Dict[str, Any]:
    versions = ["{} {}".format(package, version_of(package)) for package in task.packages]
    return {
        "simulator": simulator,
        "task": name,
        "seed": seed,
        "environment_steps": score.environment_steps,
        "return_untrained": "{:.2f}".format(score.untrained),
        "return_trained": "{:.2f}".format(score.trained),
        "must": task.must,
        "seconds": "{:.0f}".format(score.seconds),
        "versions": ", ".join(versions + ["torch " + torch.__version__]),
        "python": platform.python_version(),
        "AquaML": AquaML.__version__,
        "date": datetime.date.today().isoformat(),
    }


if __name__ == "__main__":
    sys.exit(main())
