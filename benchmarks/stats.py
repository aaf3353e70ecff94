"""Samples -> estimates with their doubt: quantiles, intervals, drift, and what many may claim."""

# Latency samples are skewed and depend on their neighbours (heat, other jobs). So: quantiles and
# not means, ranks and not variances, and the number of independent samples, not of all.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the range that holds the truth in `level` of all repetitions."""

    value: float
    low: float
    high: float
    level: float = LEVEL


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

        n_eff = n / (2 sum_k G_k - 1),  G_k = rho_2k + rho_2k+1, while positive, never rising

    Geyer 1992, initial monotone sequence; on ranks, since latencies have heavy tails. Between 1
    and n.
    """
    from scipy.stats import rankdata

    values = checked(samples)
    ranks = rankdata(values) - (values.size + 1) / 2
    if values.size < 4 or not ranks.any():
        return float(values.size)
    spectrum = np.fft.rfft(ranks, 2 * values.size)
    rho = np.fft.irfft(np.abs(spectrum) ** 2)[: values.size]
    even = values.size // 2 * 2
    pairs = np.minimum.accumulate(rho[:even:2] + rho[1:even:2]) / rho[0]
    ends = np.flatnonzero(pairs <= 0)
    total = 2 * float(pairs[: ends[0] if ends.size else None].sum()) - 1
    return float(np.clip(values.size / max(total, 1.0), 1.0, values.size))


def quantile_interval(samples: Samples, share: float, level: float = LEVEL) -> Interval:
    """A distribution-free interval of a quantile from order statistics.

    The number of samples below the true quantile is binomial(n, share): the ranks that hold it
    with probability `level` name the bounds (Conover 1999, 3.2). n is the effective size. Too few
    samples for the tail give an infinite bound: 99 % of a p99 needs hundreds.
    """
    from scipy.stats import binom

    values = np.sort(checked(samples))
    size = max(1, int(effective_size(samples)))
    tail = (1 - level) / 2
    first = int(binom.ppf(tail, size, share))  # P(count <= first - 1) < tail
    last = int(binom.ppf(1 - tail, size, share)) + 1
    gaps = max(1, size - 1)
    low = float(np.quantile(values, (first - 1) / gaps)) if first > 0 else 0.0
    high = float(np.quantile(values, (last - 1) / gaps)) if last <= size else math.inf
    return Interval(value=quantile(values, share), low=low, high=high, level=level)


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
    low, high = np.quantile(sums, [(1 - level) / 2, (1 + level) / 2])
    value = float(values.sum() / max(shares.sum(), 1e-12))
    return Interval(value=value, low=float(low), high=float(high), level=level)


def share_interval(count: int, of: int, level: float = LEVEL) -> Interval:
    """Of `of` trials `count` came true: the share, between Clopper and Pearson's bounds (1934)."""
    from scipy.stats import binomtest

    bounds = binomtest(count, of).proportion_ci(level, method="exact")
    return Interval(value=count / of, low=float(bounds.low), high=float(bounds.high), level=level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given (Holm 1979)."""
    count = len(p_values)
    adjusted = [0.0] * count
    worst = 0.0
    for place, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (count - place) * p_values[index]))
        adjusted[index] = worst
    return adjusted
