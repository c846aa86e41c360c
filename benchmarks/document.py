"""Copies the ratios of all stored results into the documentation."""

from pathlib import Path
from typing import List

from benchmarks.figures import judge
from benchmarks.process import REPOSITORY
from benchmarks.report import comparison_table
from benchmarks.store import Store
from benchmarks.suites import SUITES, Scale, Suite

DOCUMENT = REPOSITORY / "Doc" / "benchmarks.md"


def copy_ratios(results: Path, scale: Scale, document: Path = DOCUMENT) -> None:
    """Replace what stands between the two marks of the document.

    Args:
        results: The folder of the results.
        scale: The sizes that were measured.
        document: The page.

    Raises:
        ValueError: A mark is missing.
    """
    lines: List[str] = []
    for name, make in SUITES.items():
        lines += _ratios(make(scale), Store(results, name))
    fill(document, "results", lines)


def fill(document: Path, name: str, lines: List[str]) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end of name -->`` in a document.

    Raises:
        ValueError: A mark is missing.
    """
    first, last = "<!-- {} -->".format(name), "<!-- end of {} -->".format(name)
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError("{} holds no '{}' … '{}' to write between.".format(document.name, first, last))
    document.write_text(before + "\n".join([first, *lines, last]) + after, encoding="utf-8")


def _ratios(suite: Suite, store: Store) -> List[str]:
    lines: List[str] = []
    for plan in suite.groups:
        stored = store.content["groups"].get(plan.title)
        if plan.comparisons and plan.point is None and stored is not None and stored["rounds"]:
            verdicts = [judge(comparison, stored["rounds"]) for comparison in plan.comparisons]
            lines += ["", "### {}: {}".format(suite.title, plan.title), ""]
            lines += [plan.note, "", *comparison_table(verdicts), ""]
            lines.append("{} round(s), {}.".format(len(stored["rounds"]), stored["machine"]["date"]))
    return lines
