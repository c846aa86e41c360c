"""Measure AquaML beside its peers: ``python -m benchmarks --suite all --rounds 7``."""

import argparse
import dataclasses
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from benchmarks.document import copy_ratios
from benchmarks.machine import describe_machine
from benchmarks.process import Contender
from benchmarks.report import write_report
from benchmarks.rounds import BUILD_SECONDS, Group
from benchmarks.store import Store, storable
from benchmarks.suites import CALIBRATION, SUITES, GroupPlan, Scale, Suite, smoke_scale

RESULTS = Path(__file__).resolve().parent / "results"
_BEGUN = time.monotonic()


def main(arguments: Optional[List[str]] = None) -> int:
    """Measure what is missing and write the reports; return 1 if nothing could be measured."""
    options = _parser().parse_args(arguments)
    physics = importlib.util.find_spec("mujoco") is not None
    scale = smoke_scale(physics) if options.smoke else Scale()
    if options.full_rollout:
        scale = dataclasses.replace(scale, physics_rollout=scale.rollout)
    if options.results is None:
        options.results = Path(tempfile.mkdtemp()) if options.smoke else RESULTS
    rounds = 1 if options.smoke and options.rounds is None else options.rounds or 7
    names = [name for name in SUITES if name in options.suite or ("all" in options.suite and name != "learning")]
    machine = describe_machine()
    measured = False
    calibration = Contender(CALIBRATION)
    try:
        calibration.wait_until_ready(BUILD_SECONDS)
        calibration.unit(BUILD_SECONDS)
        for name in names:
            suite = SUITES[name](scale)
            wanted = scale.learning_units if name == "learning" else rounds
            store = Store(options.results, name)
            for plan in suite.groups:
                if options.group is None or options.group in plan.title:
                    stored = measure(plan, store, machine, wanted, calibration, options.fresh)
                    measured = measured or bool(stored["rounds"])
            for path in write_report(suite, store.content, options.results):
                say("wrote {}".format(path if options.smoke else path.name))
    finally:
        calibration.close()
    if options.results == RESULTS and options.write_document:
        copy_ratios(RESULTS, scale)
    return 0 if measured else 1


def measure(
    plan: GroupPlan, store: Store, machine: Dict[str, Any], rounds: int, calibration: Contender, fresh: bool
) -> Dict[str, Any]:
    """Measure the rounds of a group that are not stored yet, and store each as soon as it is done."""
    described = json.loads(json.dumps([dataclasses.asdict(contender) for contender in plan.contenders]))
    stored = store.group(plan.title, {"contenders": described}, machine, fresh)
    if len(stored["rounds"]) >= rounds:
        say("{}: {} rounds are there".format(plan.title, len(stored["rounds"])))
        return stored
    say("{}: building {} contenders".format(plan.title, len(plan.contenders)))
    group = Group(plan.contenders, calibration, say)
    try:
        while len(stored["rounds"]) < rounds:
            results = group.measure_round(len(stored["rounds"]))
            stored["introductions"] = group.introductions
            if not results:
                say("{}: no contender is left".format(plan.title))
                break
            stored["rounds"].append(storable(results))
            store.save()
            say("  round {} of {}: {}".format(len(stored["rounds"]), rounds, _line(results)))
    finally:
        group.close()
    store.save()
    return stored


def _line(results: Dict[str, Dict[str, float]]) -> str:
    return ", ".join("{} {:.3f} s".format(name, measurement["seconds"]) for name, measurement in results.items())


def say(text: str) -> None:
    """Print progress with the minutes since the start."""
    print("[{:6.1f} min] {}".format((time.monotonic() - _BEGUN) / 60.0, text), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--suite", nargs="+", choices=["all", *SUITES], default=["all"])
    parser.add_argument("--group", help="only groups whose title holds this text, for example Ant-v5")
    parser.add_argument("--rounds", type=int, help="rounds per group (default: 7)")
    parser.add_argument("--results", type=Path, help="where results are written (smoke: a new folder)")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there already")
    parser.add_argument("--full-rollout", action="store_true", help="64 vector steps in a unit of Ant and Humanoid too")
    parser.add_argument(
        "--write-document", action="store_true", help="copy the ratios of all results to Doc/benchmarks.md"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: shows that everything runs, measures nothing")
    return parser


__all__ = ["Suite", "main"]

if __name__ == "__main__":
    sys.exit(main())
