"""Values in order of time -> where their level changed for good, and by how much."""

# Reports of a project are few, and their medians have outliers: so ranks, and a permutation test
# instead of a penalty that assumes how they scatter.

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minuet.benchmarks import compare
from minuet.benchmarks.stats import LEVEL, Floats, Interval, checked

SHORTEST = 3  # values of a level: one or two are an outlier
SHUFFLES = 999
ALPHA = 0.01  # of calling a series without a change changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A new level."""

    at: int  # the index of its first value
    ratio: Interval  # over the level before


def changes(samples: Sequence[float], min_effect: float = compare.MIN_EFFECT) -> list[Change]:
    """Each change by more than min_effect, in order.

    Binary segmentation (Vostrikova 1981): a stretch is cut where the ranks before and behind
    differ most, if shuffled ranks hardly ever differ as much, and its parts are looked at again.

    Raises:
        ValueError: a value is not a finite number above 0.
    """
    values = checked(samples)
    edges = [0, *sorted(_cuts(values, 0)), values.size]
    while True:
        levels = [values[a:b] for a, b in itertools.pairwise(edges)]
        found = [
            Change(at=at, ratio=compare.apart(new, old, LEVEL).ratio)
            for at, old, new in zip(edges[1:], levels, levels[1:], strict=False)
        ]
        small = [one for one in found if _effect(one) <= min_effect]
        if not small:
            return found
        edges.remove(min(small, key=_effect).at)  # its neighbours are compared anew


def _effect(change: Change) -> float:
    return max(change.ratio.value, 1 / change.ratio.value) - 1


def _cuts(values: Floats, begin: int) -> list[int]:
    found = _cut(values)
    if found is None:
        return []
    parts = _cuts(values[:found], begin), _cuts(values[found:], begin + found)
    return [*parts[0], begin + found, *parts[1]]


def _cut(values: Floats) -> int | None:
    """Where a stretch is cut in two; None where chance may have made the difference."""
    from scipy.stats import rankdata

    if values.size < 2 * SHORTEST:
        return None
    ranks = rankdata(values)
    shuffled = np.random.default_rng(0).permuted(np.tile(ranks, (SHUFFLES, 1)), axis=1)
    real, by_chance = _differences(ranks[None]), _differences(shuffled).max(axis=1)
    p_value = (1 + np.sum(by_chance >= real.max())) / (1 + SHUFFLES)
    return SHORTEST + int(real.argmax()) if p_value <= ALPHA and real.max() > 0 else None


def _differences(ranks: Floats) -> Floats:
    """For each row and cut: how far the ranks before it lie from the middle, over their scatter.

    Rank sums have the variance k (n - k) (n + 1) / 12, up to ties, which all cuts share.
    """
    count = ranks.shape[1]
    cuts = np.arange(SHORTEST, count - SHORTEST + 1)
    sums = np.cumsum(ranks - ranks.mean(axis=1, keepdims=True), axis=1)[:, cuts - 1]
    found: Floats = np.abs(sums) / np.sqrt(cuts * (count - cuts))
    return found
