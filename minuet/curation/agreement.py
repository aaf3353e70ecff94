"""Ratings -> how far people agree, and intervals around what they say.

Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: nominal data, any
number of observers, missing values.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)  # percentiles: 95 %


def alpha(units: Sequence[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha for nominal values; each unit is what its raters said of one thing.

        alpha = 1 - D_o / D_e
        D_o = 1/n sum_u sum_{c != k} n_uc n_uk / (m_u - 1)
        D_e = sum_{c != k} n_c n_k / (n (n - 1))

    Units that fewer than two rated say nothing about agreement and are left out.

    Returns:
        1 if all agree, about 0 if they answer by chance; None where all answers are alike, or none
        can be compared, so that it is not defined.
    """
    pairable = [Counter(unit) for unit in units if len(unit) > 1]
    total = sum((unit for unit in pairable), Counter[Hashable]())
    n = total.total()
    expected = (n**2 - sum(count**2 for count in total.values())) / (n - 1) if n else 0.0
    if not expected:
        return None
    observed = sum(_disagreement(unit) * unit.total() for unit in pairable)
    return 1 - observed / expected


def _disagreement(unit: Counter[Hashable]) -> float:
    """The share of pairs of raters who differ: 0 if all are of one mind."""
    size = unit.total()
    return (size**2 - sum(count**2 for count in unit.values())) / (size * (size - 1))


def disagreement(unit: Sequence[Hashable]) -> float:
    """The share of pairs of raters of one thing who differ; 0 for fewer than two."""
    return _disagreement(Counter(unit)) if len(unit) > 1 else 0.0


def bootstrap(
    by_request: Mapping[int, Sequence[Any]],
    statistic: Callable[[NDArray[np.float64]], float],
    seed: int = 0,
) -> tuple[float, float] | None:
    """A 95 % percentile interval (Efron and Tibshirani 1993, section 13.3).

    Requests are drawn again with replacement, each with all that was said of it: answers to one
    sticker hang together, and drawn one by one they would make the interval too narrow.

    Args:
        by_request: of each request its rows of numbers, which a resample sums up.
        statistic: the summed row -> a number, NaN if it is not defined there.

    Returns:
        Low and high; None for fewer than two requests.
    """
    if len(by_request) < 2:
        return None
    sums = np.array([np.sum(by_request[number], axis=0) for number in sorted(by_request)], float)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), RESAMPLES) @ sums
    values = [statistic(row) for row in drawn]
    if np.isnan(values).all():
        return None
    low, high = np.nanpercentile(values, INTERVAL)
    return float(low), float(high)
