"""What wrappers of simulators add to a step, over stand-ins that cost nothing: ``python -m benchmarks.wrapper_cost``.

The stand-ins are those of ``tests/environment/simulators``; their steps are recorded beforehand and shown over and over
again, so that what is measured is the wrapper's own. A second column compares with a simulator that takes 6 ms a step.
"""

import argparse
import csv
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch

from benchmarks.machine import describe_machine

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results" / "wrapper_cost.csv"
COLUMNS = [
    "wrapper",
    "num_envs",
    "observations",
    "actions",
    "microseconds",
    "low",
    "high",
    "share_at_6_ms",
    "processor",
    "date",
]
SIZES = (60, 8)
"""Numbers observed and moved, as in Isaac Gym's Ant."""
SIMULATOR_SECONDS = 0.006


class Slow:
    """A simulator that shows recorded steps after a time that it would have computed in.

    Args:
        recorded: Shows the steps.
        seconds: How long a step takes.
    """

    def __init__(self, recorded: Any, seconds: float) -> None:
        self._recorded = recorded
        self.seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorded, name)

    @property
    def unwrapped(self) -> "Slow":
        """Itself."""
        return self

    def step(self, actions: Any) -> Any:
        """Compute for a while, and show the next recorded step."""
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return self._recorded.step(actions)


def time_of_steps(step: Any, steps: int) -> float:
    """Return seconds for each call."""
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - began) / steps


def measure(name: str, num_envs: int, rounds: int, steps: int) -> Dict[str, Any]:
    """Measure one wrapper.

    Args:
        name: Its name in the test of operations.
        num_envs: Number of environments.
        rounds: Repetitions, of which the median counts.
        steps: Steps in each.
    """
    sys.path.insert(0, str(REPOSITORY / "tests" / "environment" / "simulators"))
    from test_cost import WRAPPERS, recorded
    from worlds import NumbersWorld

    size = SIZES[1]
    simulator = Slow(recorded(name, num_envs, NumbersWorld.of(*SIZES)), 0.0)
    wrapper = WRAPPERS[name][2](simulator)
    wrapper.reset()
    actions = {"action": torch.zeros(num_envs, size)}
    raw = torch.zeros(num_envs, size)
    added: List[float] = []
    shares: List[float] = []
    for _ in range(rounds):
        # The bare simulator is handed a copy of the actions as well, since it may change them.
        simulator.seconds = 0.0
        bare = time_of_steps(lambda: simulator.step(raw), steps)
        added.append(time_of_steps(lambda: wrapper.step(actions), steps) - bare)
        simulator.seconds = SIMULATOR_SECONDS
        slow = time_of_steps(lambda: simulator.step(raw), steps // 20)
        shares.append(slow / time_of_steps(lambda: wrapper.step(actions), steps // 20))
    added.sort()
    machine = describe_machine()
    return {
        "wrapper": name,
        "num_envs": num_envs,
        "observations": SIZES[0],
        "actions": SIZES[1],
        "microseconds": "{:.1f}".format(1e6 * statistics.median(added)),
        "low": "{:.1f}".format(1e6 * added[len(added) // 4]),
        "high": "{:.1f}".format(1e6 * added[-1 - len(added) // 4]),
        "share_at_6_ms": "{:.4f}".format(statistics.median(shares)),
        "processor": machine["processor"],
        "date": machine["date"],
    }


def main(arguments: Optional[List[str]] = None) -> None:
    """Measure all wrappers and write a row for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wrapper_cost", description=__doc__.splitlines()[0])
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sys.path.insert(0, str(REPOSITORY / "tests" / "environment" / "simulators"))
    from test_cost import WRAPPERS

    rows = [measure(name, options.num_envs, options.rounds, options.steps) for name in WRAPPERS]
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with open(str(options.results), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print("{wrapper}: {microseconds} us ({low} to {high}), {share_at_6_ms} of the simulator's speed".format(**row))


if __name__ == "__main__":
    main()
