"""Samples -> estimates with their doubt: quantiles, intervals, and whether one is slower."""

# Latency samples are skewed and depend on their neighbours (heat, other jobs). So: quantiles and
# not means, ranks and not variances, and a bootstrap that draws runs of neighbours.

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Samples = Sequence[float] | NDArray[np.floating[Any]]

LEVEL = 0.95
GATE_LEVEL = 0.99  # of comparisons: one false alarm in a hundred runs is already a nuisance
ROUNDS = 2000
DRIFT = 0.03  # a trend smaller than this share of the median changes no verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the range that holds the truth in `level` of all repetitions."""

    value: float
    low: float
    high: float
    level: float = LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """New against old, as a ratio of medians: 1.05 is five per cent slower."""

    outcome: str  # slower, faster, same, unsure
    ratio: Interval
    p_value: float  # of both having one distribution; Mann-Whitney, two-sided


def checked(samples: Samples) -> Floats:
    """Samples as float64.

    Raises:
        ValueError: none, or one of them is not a finite number.
    """
    values = np.asarray(samples, dtype=np.float64).ravel()
    if not values.size:
        raise ValueError("no samples")
    if not np.isfinite(values).all():
        raise ValueError("a sample is not a finite number")
    return values


def quantile(samples: Samples, share: float) -> float:
    """The value below which `share` of the samples lie, linear between neighbours."""
    return float(np.quantile(checked(samples), share))


def effective_size(samples: Samples) -> float:
    """How many independent samples are worth as much as these.

        n_eff = n / (1 + 2 sum_k rho_k),  rho over the ranks, summed while positive

    Geyer 1992, initial positive sequence, without the pairing; on ranks, since latencies have
    heavy tails. Between 1 and n.
    """
    ranks = _ranks(checked(samples))
    count = ranks.size
    centred = ranks - ranks.mean()
    power = float(centred @ centred)
    if count < 4 or power == 0:
        return float(count)
    total = 0.0
    for lag in range(1, count // 2):
        rho = float(centred[:-lag] @ centred[lag:]) / power
        if rho < 2 / math.sqrt(count):  # two standard errors of an autocorrelation of nothing
            break
        total += rho
    return max(1.0, count / (1 + 2 * total))


def quantile_interval(samples: Samples, share: float, level: float = LEVEL) -> Interval:
    """A distribution-free interval of a quantile from order statistics.

    The number of samples below the true quantile is binomial(n, share): the ranks that hold it
    with probability `level` name the bounds. n is the effective size. Too few samples for the
    tail give an infinite bound: 99 % of a p99 needs hundreds.
    """
    values = np.sort(checked(samples))
    size = max(1, int(effective_size(samples)))
    below = _binomial_cdf(size, share)
    tail = (1 - level) / 2
    first = int(np.searchsorted(below, tail))  # P(count <= first - 1) < tail
    last = int(np.searchsorted(below, 1 - tail)) + 1
    gaps = max(1, size - 1)
    low = float(np.quantile(values, (first - 1) / gaps)) if first > 0 else 0.0
    high = float(np.quantile(values, (last - 1) / gaps)) if last <= size else math.inf
    return Interval(value=quantile(values, share), low=low, high=high, level=level)


def ratio_interval(
    new: Samples, old: Samples, level: float = LEVEL, *, rounds: int = ROUNDS, seed: int = 0
) -> Interval:
    """Bootstrap interval of median(new) / median(old)."""
    news, olds = checked(new), checked(old)
    ratios = np.median(resample(news, rounds, seed), axis=1) / np.median(
        resample(olds, rounds, seed + 1), axis=1
    )
    return _interval(float(np.median(news) / np.median(olds)), ratios, level)


def paired_ratio(
    new: Samples, old: Samples, level: float = GATE_LEVEL, *, rounds: int = ROUNDS, seed: int = 0
) -> Interval:
    """Bootstrap interval of the median of new_i / old_i, where each pair was taken side by side.

    What slows a whole machine for seconds slows both of a pair and leaves their ratio: of samples
    in turns this tells a few per cent that two medians hide.
    """
    news, olds = checked(new), checked(old)
    size = min(news.size, olds.size)
    ratios = news[:size] / olds[:size]
    drawn = np.median(resample(ratios, rounds, seed), axis=1)
    return _interval(float(np.median(ratios)), drawn, level)


def mean_interval(
    samples: Samples,
    weights: Samples | None = None,
    level: float = LEVEL,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of sum(samples) / sum(weights) over independent items.

    Without weights: the mean. With them: a ratio of sums, such as motion over the truth's motion.
    """
    values = checked(samples)
    shares = np.ones_like(values) if weights is None else checked(weights)
    drawn = np.random.default_rng(seed).integers(0, values.size, (rounds, values.size))
    sums = values[drawn].sum(axis=1) / np.maximum(shares[drawn].sum(axis=1), 1e-12)
    return _interval(float(values.sum() / max(shares.sum(), 1e-12)), sums, level)


def outcome_of(ratio: Interval, min_effect: float = 0.03) -> str:
    """faster or slower: by more than min_effect, and the interval excludes 1; else same, unsure."""
    if ratio.value > 1 + min_effect and ratio.low > 1:
        return "slower"
    if ratio.value < 1 / (1 + min_effect) and ratio.high < 1:
        return "faster"
    return "same" if ratio.high <= 1 + min_effect else "unsure"


def rank_test(new: Samples, old: Samples) -> float:
    """Mann-Whitney's two-sided p with tie correction; n reduced to the effective sizes."""
    news, olds = checked(new), checked(old)
    m, n = news.size, olds.size
    both = np.concatenate([news, olds])
    ranks = _ranks(both)
    excess = ranks[:m].sum() - m * (m + n + 1) / 2
    _, ties = np.unique(both, return_counts=True)
    total = m + n
    variance = m * n / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    inflation = max(m / effective_size(news), n / effective_size(olds))
    z = max(0.0, abs(excess) - 0.5) / math.sqrt(variance * inflation)
    return math.erfc(z / math.sqrt(2))


def slower(
    new: Samples, old: Samples, min_effect: float = 0.03, level: float = GATE_LEVEL
) -> Comparison:
    """Whether new is slower than old: by more than min_effect, and not by chance.

    slower: the ratio of medians exceeds 1 + min_effect, its interval excludes 1, and the rank
    test agrees. faster: the mirror image. same: the interval lies within min_effect on the slow
    side. unsure: anything else, so more samples would tell.
    """
    ratio = ratio_interval(new, old, level)
    p = rank_test(new, old)
    sure = p < 1 - level
    if sure and ratio.value > 1 + min_effect and ratio.low > 1:
        outcome = "slower"
    elif sure and ratio.value < 1 / (1 + min_effect) and ratio.high < 1:
        outcome = "faster"
    else:
        outcome = "same" if ratio.high <= 1 + min_effect else "unsure"
    return Comparison(outcome=outcome, ratio=ratio, p_value=p)


def drift(
    samples: Samples, min_effect: float = DRIFT, level: float = GATE_LEVEL
) -> Interval | None:
    """The second half's median over the first's, where heat or neighbours moved it; else None.

    It moved if it did by more than min_effect and the interval excludes 1. No rank test here: a
    trend makes samples lean on each other, and must not hide behind that.
    """
    values = checked(samples)
    half = values.size // 2
    if half < 5:
        return None
    ratio = ratio_interval(values[half:], values[:half], level)
    moved = max(ratio.value, 1 / ratio.value) > 1 + min_effect and not ratio.low <= 1 <= ratio.high
    return ratio if moved else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given (Holm 1979)."""
    count = len(p_values)
    adjusted = [0.0] * count
    worst = 0.0
    for place, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (count - place) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def resample(values: Floats, rounds: int, seed: int) -> Floats:
    """Bootstrap draws (rounds, n) of circular blocks of about n^(1/3) neighbours.

    Politis and Romano 1992. The seed makes a verdict from a report the same on every machine.
    """
    count = values.size
    block = max(1, round(count ** (1 / 3)))
    blocks = -(-count // block)
    starts = np.random.default_rng(seed).integers(0, count, (rounds, blocks, 1))
    index = (starts + np.arange(block)) % count
    drawn: Floats = values[index.reshape(rounds, -1)[:, :count]]
    return drawn


def _interval(value: float, draws: Floats, level: float) -> Interval:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high), level=level)


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = ((last - counts + 1 + last) / 2)[inverse.ravel()]
    return ranks


def _binomial_cdf(size: int, share: float) -> Floats:
    k = np.arange(size + 1)
    logs = np.array(
        [math.lgamma(size + 1) - math.lgamma(i + 1) - math.lgamma(size - i + 1) for i in k]
    )
    with np.errstate(divide="ignore"):
        terms = np.exp(logs + k * math.log(share) + (size - k) * math.log1p(-share))
    cdf: Floats = np.cumsum(terms)
    return cdf
