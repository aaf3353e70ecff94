"""Samples in order -> where the last change of their level lies: from there on it is steady.

A fixed number of warm-up runs is too few for one program and wasted on the next. Barrett et al.
2017 (Virtual machine warmup blows hot and cold, OOPSLA, arXiv 1602.00602), section 4: the levels
are found by PELT (Killick et al. 2012, arXiv 1101.1438), and the steady state is the last level
together with those before it that are the same.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SHORTEST = 3  # samples of a level
LONG_ENOUGH = 10  # samples of the last level, for it to be called steady
SAME = 0.02  # levels this near are one
QUIETEST = 0.005  # scatter below which nobody looks: a perfectly even level is not split
REACH, SPIKE = 2, 3.0  # neighbours on either side; deviations above which a sample is a spike


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A stretch of samples about one value."""

    begin: int
    end: int
    value: float


def steady_from(samples: Sequence[float]) -> int | None:
    """The index from which on samples are of one level; None while that is not known."""
    found = levels(samples)
    begin = len(samples)
    for level in reversed(found):
        if abs(level.value / found[-1].value - 1) > SAME:
            break
        begin = level.begin
    return begin if len(samples) - begin >= LONG_ENOUGH else None


def levels(samples: Sequence[float]) -> list[Level]:
    """The levels of positive samples, in order.

    Changes of latency are shares of it, so they are looked for among logarithms; a hiccup is no
    level, so spikes are cut down to their neighbours' height.
    """
    rows = despiked([math.log(max(value, 1e-9)) for value in samples])
    edges = [0, *changes(rows, scatter(rows)), len(rows)]
    return [
        Level(begin=begin, end=end, value=math.exp(statistics.median(rows[begin:end])))
        for begin, end in itertools.pairwise(edges)
        if end > begin
    ]


def changes(rows: Sequence[float], sigma: float) -> list[int]:
    """Where the mean of normal rows of a known scatter changes.

        F(t) = min over s of  F(s) + cost(s, t) + penalty,
        cost(s, t) = sum over s <= i < t of ((x_i - mean) / sigma)^2

    Killick et al. 2012, eq. 5, with their pruning (theorem 3.1), levels of at least SHORTEST, and
    the penalty of 3 log n of Zhang and Siegmund 2007's modified BIC.
    """
    count, penalty = len(rows), 3 * math.log(max(len(rows), 2))
    cost = _cost(rows, sigma)
    best, before = {0: -penalty}, {0: 0}
    candidates = [0]
    for end in range(SHORTEST, count + 1):
        totals = {s: best[s] + cost(s, end) for s in candidates}
        before[end] = min(totals, key=totals.__getitem__)
        best[end] = totals[before[end]] + penalty
        candidates = [s for s in candidates if totals[s] <= best[end]]
        if end - SHORTEST + 1 in best:
            candidates.append(end - SHORTEST + 1)
    found, at = [], count
    while at >= SHORTEST and before[at]:
        at = before[at]
        found.append(at)
    return found[::-1]


def scatter(rows: Sequence[float]) -> float:
    """The standard deviation about a level that may be sloped, or have a few steps.

    Of independent rows a second difference has six times the variance of one of them.
    """
    bends = [abs(a - 2 * b + c) for a, b, c in zip(rows, rows[1:], rows[2:], strict=False)]
    return max(QUIETEST, 1.4826 * statistics.median(bends) / math.sqrt(6)) if bends else QUIETEST


def despiked(rows: Sequence[float]) -> list[float]:
    """Each row within SPIKE deviations of its neighbours' median (Hampel 1974)."""
    reach = SPIKE * scatter(rows)
    found: list[float] = []
    for at, value in enumerate(rows):
        middle = statistics.median(rows[max(0, at - REACH) : at + REACH + 1])
        found.append(min(max(value, middle - reach), middle + reach))
    return found


def _cost(rows: Sequence[float], sigma: float) -> Callable[[int, int], float]:
    sums, squares = [0.0], [0.0]
    for value in rows:
        sums.append(sums[-1] + value / sigma)
        squares.append(squares[-1] + (value / sigma) ** 2)

    def cost(begin: int, end: int) -> float:
        total = sums[end] - sums[begin]
        return squares[end] - squares[begin] - total * total / (end - begin)

    return cost
