"""New samples and old ones -> how many times slower the new are, and whether that is so."""

# Ranks of logarithms throughout: a slow-down is a factor, and noise on a busy machine has tails
# that a mean or a variance does not survive. Every test and its interval are one statistic turned
# round, so that they never contradict each other.

import math
from dataclasses import dataclass

import numpy as np

from minuet.benchmarks.stats import (
    GATE_LEVEL,
    LEVEL,
    ROUNDS,
    Floats,
    Interval,
    Samples,
    checked,
    effective_size,
)

MIN_EFFECT = 0.03  # a smaller change is nobody's business
MOST = 512  # samples a side whose every pair is looked at; of more, neighbours are drawn together
FEWEST = 12  # below that many pairs no interval of 99 % has an end
BEYOND = 5  # samples beyond a quantile, below which no bootstrap of it is believed
AT_ONCE = 1 << 22  # samples of a bootstrap in memory
SLOWER, FASTER, SAME, UNSURE = "slower", "faster", "same", "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """New over old, 1.05 being five per cent slower, and the chance of such a ratio if equal."""

    ratio: Interval
    p_value: float  # two-sided


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An estimate, and what it means where changes below some effect do not count."""

    outcome: str  # slower, faster, same, unsure
    ratio: Interval
    p_value: float
    needed: int  # samples a side that would decide; 0: it is decided, or no number would


def pairwise(new: Samples, old: Samples, level: float = GATE_LEVEL) -> Estimate:
    """From samples taken side by side: the i-th of both is a pair.

    What slows a whole machine for seconds slows both of a pair and leaves their ratio (duet
    benchmarking: Bulej et al. 2020). The estimate is Hodges and Lehmann's (1963), the median of
    all means of two log ratios; the interval turns Wilcoxon's signed-rank test round.
    """
    news, olds = _logs(new), _logs(old)
    size = min(news.size, olds.size)
    gaps = _thinned(news[:size] - olds[:size])
    n, worth = gaps.size, effective_size(gaps)
    rows, columns = np.triu_indices(n)
    means = (gaps[rows] + gaps[columns]) / 2
    spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24 * n / worth)
    return _inverted(means, spread, worth - 1, level)


def apart(new: Samples, old: Samples, level: float = GATE_LEVEL) -> Estimate:
    """From samples taken at different times.

    The estimate is the median of all differences of two logarithms (Hodges and Lehmann 1963); the
    interval turns the test of Mann and Whitney round.
    """
    news, olds = _thinned(_logs(new)), _thinned(_logs(old))
    return _shift(news, olds, (effective_size(news), effective_size(olds)), level)


def tails(
    new: Samples, old: Samples, share: float, level: float = GATE_LEVEL, *, paired: bool = False
) -> Estimate:
    """Of another quantile than the median: its ratio, by a bootstrap of blocks of neighbours.

    Of samples taken side by side, both sides draw the same blocks.
    """
    news, olds = _logs(new), _logs(old)
    if paired:
        news, olds = (values[: min(news.size, olds.size)] for values in (news, olds))
    value = math.exp(np.quantile(news, share) - np.quantile(olds, share))
    if min(news.size, olds.size) * min(share, 1 - share) < BEYOND:
        return Estimate(ratio=Interval(value=value, low=0.0, high=math.inf, level=level), p_value=1)
    drawn = _redrawn(news, share, 0), _redrawn(olds, share, 0 if paired else 1)
    ratios = np.exp(drawn[0] - drawn[1])
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    either = min(np.mean(ratios <= 1), np.mean(ratios >= 1))
    return Estimate(
        ratio=Interval(value=value, low=float(low), high=float(high), level=level),
        p_value=min(1.0, 2 * float(either) + 1 / ROUNDS),
    )


def compared(
    new: Samples,
    old: Samples,
    *,
    share: float = 0.5,
    paired: bool = False,
    min_effect: float = MIN_EFFECT,
    level: float = GATE_LEVEL,
) -> Comparison:
    """Whether a quantile of the new is higher: by more than min_effect, and not by chance."""
    if share != 0.5:
        found = tails(new, old, share, level, paired=paired)
    else:
        found = (pairwise if paired else apart)(new, old, level)
    outcome = outcome_of(found.ratio, min_effect)
    needed = samples_needed(found.ratio, min_effect, min(len(new), len(old)))
    return Comparison(
        outcome=outcome,
        ratio=found.ratio,
        p_value=found.p_value,
        needed=needed if outcome == UNSURE else 0,
    )


def outcome_of(ratio: Interval, min_effect: float = MIN_EFFECT) -> str:
    """faster or slower: by more than min_effect, and the interval excludes 1; else same, unsure.

    same: it is not slower by more than min_effect, with the interval's own certainty.
    """
    if ratio.value > 1 + min_effect and ratio.low > 1:
        return SLOWER
    if ratio.value < 1 / (1 + min_effect) and ratio.high < 1:
        return FASTER
    return SAME if ratio.high <= 1 + min_effect else UNSURE


def drift(
    samples: Samples, min_effect: float = MIN_EFFECT, level: float = LEVEL
) -> Interval | None:
    """`trend`, where it is more than min_effect and its interval excludes 1; else None."""
    found = trend(samples, level)
    return found if found and outcome_of(found, min_effect) in (SLOWER, FASTER) else None


def trend(samples: Samples, level: float = LEVEL) -> Interval | None:
    """The last third over the first: heat, neighbours, or chance; None where there are too few.

    Outer thirds tell a slope nearly as well as a fitted line, and do not ask for one.
    """
    values = _thinned(_logs(samples))
    third = values.size // 3
    if third < FEWEST // 2:
        return None
    worth = effective_size(_without_trend(values)) / 3
    return _shift(values[-third:], values[:third], (worth, worth), level).ratio


def samples_needed(ratio: Interval, min_effect: float, have: int) -> int:
    """About how many samples a side would make an unsure ratio slower or same; 0: none would.

    The width of an interval shrinks with the root of their number.
    """
    value, limit = math.log(ratio.value), math.log1p(min_effect)
    if abs(value - limit) < 1e-9:
        return 0
    if value > limit:
        width, gap = value - _log(ratio.low), value
    else:
        width, gap = _log(ratio.high) - value, limit - value
    if not math.isfinite(width):
        return max(2 * have, FEWEST)
    return max(have + 1, math.ceil(have * (width / gap) ** 2))


def _redrawn(values: Floats, share: float, seed: int) -> Floats:
    """A quantile of ROUNDS bootstrap draws: circular runs of about n^(1/3) neighbours.

    Politis and Romano 1992. The seed makes a verdict from a report the same on every machine.
    """
    count = values.size
    block = max(1, round(count ** (1 / 3)))
    rng, inside = np.random.default_rng(seed), np.arange(block)
    found = []
    for rounds in np.array_split(np.arange(ROUNDS), -(-ROUNDS * count // AT_ONCE)):
        starts = rng.integers(0, count, (rounds.size, -(-count // block), 1))
        index = ((starts + inside) % count).reshape(rounds.size, -1)[:, :count]
        found.append(np.quantile(values[index], share, axis=1))
    return np.concatenate(found)


def _shift(new: Floats, old: Floats, worth: tuple[float, float], level: float) -> Estimate:
    """How far one set of logarithms lies above another; of both, what they are worth."""
    m, n = new.size, old.size
    spread = math.sqrt(m * n * (m + n + 1) / 12 * max(m / worth[0], n / worth[1]))
    return _inverted(np.subtract.outer(new, old).ravel(), spread, sum(worth) - 2, level)


def _inverted(estimates: Floats, spread: float, freedom: float, level: float) -> Estimate:
    """Estimates whose number above the truth is symmetric about half of them, `spread` wide.

    The spread rests on a dependence that was estimated, too: hence Student's t and not the normal.
    """
    from scipy.stats import t

    estimates.sort()
    count, student = estimates.size, t(max(1.0, freedom))
    skipped = math.floor(count / 2 - student.ppf((1 + level) / 2) * spread)  # at each end
    above = float(np.sum(estimates > 0)) + float(np.sum(estimates == 0)) / 2
    far = max(0.0, abs(above - count / 2) - 0.5) / spread if spread else 0.0
    ratio = Interval(
        value=math.exp(np.median(estimates)),
        low=math.exp(estimates[skipped]) if skipped >= 0 else 0.0,
        high=math.exp(estimates[count - 1 - skipped]) if skipped >= 0 else math.inf,
        level=level,
    )
    return Estimate(ratio=ratio, p_value=2 * float(student.sf(far)))


def _logs(samples: Samples) -> Floats:
    values = checked(samples)
    if values.min() <= 0:
        raise ValueError("a sample is 0, shorter than the clock can tell")
    logs: Floats = np.log(values)
    return logs


def _thinned(values: Floats) -> Floats:
    """At most MOST values: the medians of as many runs of neighbours."""
    if values.size <= MOST:
        return values
    size = -(-values.size // MOST)
    whole = values[: values.size // size * size].reshape(-1, size)
    medians: Floats = np.median(whole, axis=1)
    return medians


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _without_trend(values: Floats) -> Floats:
    """What a parabola through the ranks leaves of them: else a trend would pass for dependence."""
    from scipy.stats import rankdata

    ranks, time = rankdata(values), np.linspace(-1, 1, values.size)
    rest: Floats = ranks - np.polynomial.Polynomial.fit(time, ranks, 2)(time)
    return rest
