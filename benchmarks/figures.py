"""Medians, quartiles and ratios of measured rounds."""

import math
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from benchmarks.specification import Comparison


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float


class Verdict(NamedTuple):
    """A comparison's outcome."""

    comparison: Comparison
    rival: Optional[str]
    """The rival that counted; None: the comparison is within one contender."""
    ratio: Optional[Spread]
    """None: a contender is missing."""
    word: str
    """``"stretch"``, ``"must"``, ``"missed"``, ``"measured"`` (no bound) or ``"not measured"``."""


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles of some values."""
    low, median, high = np.percentile(np.asarray(values, dtype=np.float64), (25.0, 50.0, 75.0))
    return Spread(float(median), float(low), float(high))


def values_of(rounds: List[Dict[str, Dict[str, float]]], contender: str, field: str) -> List[float]:
    """Return a field of a contender in the rounds that have it."""
    return [one[contender][field] for one in rounds if contender in one and field in one[contender]]


def judge(comparison: Comparison, rounds: List[Dict[str, Dict[str, float]]]) -> Verdict:
    """Return the median of the ratios of each round, and what that says of the bounds."""
    rival = None
    if comparison.measure == "share":
        pairs = [one[comparison.contender] for one in rounds if comparison.contender in one]
        ratios = [pair["replay"] / pair["seconds"] for pair in pairs]
    else:
        rival = _best(comparison.rivals, rounds)
        ratios = [] if rival is None else _ratios(comparison, rival, rounds)
    if not ratios:
        return Verdict(comparison, rival, None, "not measured")
    ratio = spread(ratios)
    return Verdict(comparison, rival, ratio, _word(comparison, ratio.median))


def _best(rivals: Sequence[str], rounds: List[Dict[str, Dict[str, float]]]) -> Optional[str]:
    """Return the rival with the least seconds per environment step."""
    times: Dict[str, float] = {}
    for rival in rivals:
        measured = [one[rival]["seconds"] / one[rival]["steps"] for one in rounds if rival in one]
        if measured:
            times[rival] = float(np.median(measured))
    return min(times, key=lambda rival: times[rival]) if times else None


def _ratios(comparison: Comparison, rival: str, rounds: List[Dict[str, Dict[str, float]]]) -> List[float]:
    ratios = []
    for one in rounds:
        if comparison.contender in one and rival in one:
            ours, theirs = one[comparison.contender], one[rival]
            times = (ours["seconds"] / ours["steps"]) / (theirs["seconds"] / theirs["steps"])
            ratios.append(times if comparison.measure == "time" else 1.0 / times)
    return ratios


def _word(comparison: Comparison, value: float) -> str:
    if comparison.must is None:
        return "measured"
    sign = -1.0 if comparison.measure == "time" else 1.0
    if comparison.stretch is not None and sign * value >= sign * comparison.stretch:
        return "stretch"
    return "must" if sign * value >= sign * comparison.must else "missed"


def without_gaps(values: Dict[str, Any]) -> Dict[str, Any]:
    """Return the values with None for NaN, which JSON does not know."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
