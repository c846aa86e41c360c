"""Run the campaigns and write their figures: ``python -m benchmarks.reliability --full``."""

import argparse
import dataclasses
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from benchmarks.machine import describe_machine
from benchmarks.reliability.document import write_document
from benchmarks.reliability.registry import CAMPAIGNS
from benchmarks.reliability.report import markdown

RESULTS = Path(__file__).resolve().parents[1] / "results"
_NAME = "reliability"


def main(arguments: Optional[List[str]] = None) -> int:
    """Run what is missing and write the figures after every campaign; return 1 if a campaign failed."""
    options = _parser().parse_args(arguments)
    if options.write_document:
        write_document(read_results(options.results))
        return 0
    failed = False
    for name in options.campaign or list(CAMPAIGNS):
        count = CAMPAIGNS[name].full if options.full else CAMPAIGNS[name].reduced
        stored = read_results(options.results).get(name)
        if stored is not None and not options.fresh and stored["count"] >= count:
            print("{}: figures of {} are there".format(name, stored["count"]), flush=True)
            continue
        print("{}: {} …".format(name, count), flush=True)
        try:
            record = run_campaign(name, count, options.seed)
        except Exception as error:
            failed = True
            print("{} failed: {}: {}".format(name, type(error).__name__, error), file=sys.stderr, flush=True)
            continue
        write_results(options.results, name, record)
        print("{}: {}".format(name, json.dumps(record["figures"])), flush=True)
    return 1 if failed else 0


def run_campaign(name: str, count: int, seed: int) -> Dict[str, Any]:
    """Run a campaign and return its figures with what they were measured on."""
    campaign = CAMPAIGNS[name]
    began = time.monotonic()
    figures = importlib.import_module(campaign.module).run(count, seed, **campaign.options)
    return {
        "count": count,
        "full_count": campaign.full,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "machine": describe_machine(),
        "figures": dataclasses.asdict(figures) if dataclasses.is_dataclass(figures) else dict(figures),
    }


def read_results(folder: Path) -> Dict[str, Any]:
    """Return what is stored: campaign to its record."""
    path = folder / (_NAME + ".json")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_results(folder: Path, name: str, record: Dict[str, Any]) -> None:
    """Store the record of one campaign beside the others, and the table of all."""
    # Read anew: another campaign may have ended meanwhile in a process of its own.
    results = dict(read_results(folder), **{name: record})
    ordered = {known: results[known] for known in CAMPAIGNS if known in results}
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / (_NAME + ".json"), json.dumps(ordered, indent=1) + "\n")
    _write(folder / (_NAME + ".md"), markdown(ordered))


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__.splitlines()[0])
    parser.add_argument("--campaign", nargs="+", choices=list(CAMPAIGNS), help="which ones (default: all)")
    parser.add_argument("--full", action="store_true", help="the published counts instead of the reduced ones")
    parser.add_argument("--fresh", action="store_true", help="run again what is there already")
    parser.add_argument("--write-document", action="store_true", help="copy what is stored to Doc/reliability.md")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where reliability.json and .md are written")
    return parser


if __name__ == "__main__":
    sys.exit(main())
