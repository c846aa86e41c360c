"""The slope of a noisy series, with a bound: Theil's and Sen's estimator."""

from typing import Sequence, Tuple

import numpy as np


def theil_sen(places: Sequence[float], values: Sequence[float], deviations: float = 1.96) -> Tuple[float, float]:
    """Return the median slope over all pairs of points and the upper bound of its confidence interval.

    The bound is Sen's (1968): that slope whose rank lies half the interval of Kendall's statistic above the middle.

    Args:
        places: Where the values were taken; no two are equal.
        values: The values, as many.
        deviations: Half the interval in standard deviations; 1.96: 95 % between both bounds.
    """
    number = len(values)
    if number < 3 or len(places) != number:
        raise ValueError("expected at least 3 points, got {} places and {} values".format(len(places), number))
    first, second = np.triu_indices(number, k=1)
    x, y = np.asarray(places, dtype=np.float64), np.asarray(values, dtype=np.float64)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    width = deviations * np.sqrt(_kendall_variance(y))
    rank = min(int(round((len(slopes) + width) / 2.0)), len(slopes) - 1)
    return float(np.median(slopes)), float(slopes[rank])


def _kendall_variance(values: np.ndarray) -> float:
    """Return the variance of Kendall's statistic, less where values are tied."""
    number = len(values)
    ties = np.unique(values, return_counts=True)[1]
    whole = number * (number - 1) * (2 * number + 5)
    return float(whole - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18.0
