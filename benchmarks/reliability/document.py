"""Copies the figures of the campaigns and the list of protections into ``Doc/reliability.md``."""

from pathlib import Path
from typing import Any, Dict, List

from benchmarks.document import fill
from benchmarks.process import REPOSITORY
from benchmarks.reliability.protection_list import PROTECTIONS
from benchmarks.reliability.report import figure_table

DOCUMENT = REPOSITORY / "Doc" / "reliability.md"
PEERS = "peers"
"""Name of the campaign that treats all libraries alike."""


def write_document(results: Dict[str, Any], document: Path = DOCUMENT) -> None:
    """Replace the tables of the page.

    Args:
        results: Campaign to its record, as the runner stores it.
        document: The page.
    """
    own = {name: record for name, record in results.items() if name != PEERS}
    lines = ["", *figure_table(own), ""]
    if PEERS in results:
        lines += _beside_peers(results[PEERS])
    fill(document, "results", lines)
    fill(document, "protections", ["", *_protection_table(), ""])


def _beside_peers(record: Dict[str, Any]) -> List[str]:
    figures = record["figures"]
    names = list(figures)
    rows = [
        ("version", [one["version"] for one in figures.values()]),
        ("bit flips: loaded wrong, silently", [_share(one["bit_flips"], "silent") for one in figures.values()]),
        ("bit flips: noticed", [_share(one["bit_flips"], "error") for one in figures.values()]),
        (
            "kills while one file is overwritten: file lost",
            ["{lost} of {kills}".format(**one["kills_while_overwriting"]) for one in figures.values()],
        ),
        ("a hostile file runs code", ["yes" if one["payload_executed"] else "no" for one in figures.values()]),
        ("one NaN among the rewards", [one["one_nan"]["reward"] for one in figures.values()]),
        ("one NaN among the observations", [one["one_nan"]["observation"] for one in figures.values()]),
    ]
    lines = [
        "### Beside others",
        "",
        "The same trials for each library, through its own functions: a PPO agent with two networks of 256 x 256 is "
        "saved and loaded (for rl_games by its two functions for checkpoints), and trained over one NaN, on AquaML's "
        "environments, which refuse an action that is NaN. *Poisoned*: parameters are not finite afterwards.",
        "",
        "| | {} |".format(" | ".join(names)),
        "|---|" + "---:|" * len(names),
    ]
    return lines + ["| {} | {} |".format(title, " | ".join(cells)) for title, cells in rows] + [""]


def _share(outcomes: Dict[str, int], name: str) -> str:
    return "{} of {}".format(outcomes[name], sum(outcomes.values()))


def _protection_table() -> List[str]:
    lines = ["| protection | where | test that fails without it |", "|---|---|---|"]
    return lines + ["| {} | `{}` | `{}` |".format(one.name, one.file, one.test) for one in PROTECTIONS]
