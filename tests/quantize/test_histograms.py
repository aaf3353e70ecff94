"""Histograms add up exactly; ranges are the best by formulas written another way."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from minuet.quantize.histograms import (
    CELLS,
    SMOOTH,
    Histogram,
    entropy_range,
    histogram,
    least_square_range,
)
from minuet.quantize.scales import affine, decode, encode

SHAPES = ("normal", "heavy", "one side", "small", "outlier")


def drawn(shape: str, count: int = 20_000) -> NDArray[np.float32]:
    rng = np.random.default_rng(SHAPES.index(shape))
    values = {
        "normal": rng.standard_normal(count),
        "heavy": rng.standard_t(3, count),
        "one side": np.abs(rng.standard_normal(count)),
        "small": rng.standard_normal(count) * 1e-4,
        "outlier": np.append(rng.standard_normal(count), 100.0),
    }[shape]
    return values.astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_value_lies_in_its_cell(shape: str) -> None:
    values, seen = drawn(shape), histogram(drawn(shape))
    edges = (np.arange(CELLS + 1) - CELLS // 2) * seen.width
    np.testing.assert_array_equal(seen.counts_N, np.histogram(values.astype(np.float64), edges)[0])
    assert (seen.low, seen.high) == (values.min(), values.max())
    assert edges[-1] / 2 <= max(abs(seen.low), abs(seen.high)) < edges[-1]


def test_the_sum_is_the_histogram_of_all_in_whatever_order() -> None:
    parts = [drawn(shape) * scale for shape, scale in zip(SHAPES, (1, 30, 0, 5, 1), strict=True)]
    whole = histogram(np.concatenate(parts))
    for order in itertools.permutations(parts, 5):
        made = histogram(order[0])
        for one in order[1:]:
            made = made + histogram(one)
        np.testing.assert_array_equal(made.counts_N, whole.counts_N)
        assert (made.power, made.low, made.high) == (whole.power, whole.low, whole.high)


def test_nothing_but_zeros_has_a_range_too() -> None:
    seen = histogram(np.zeros((3, 4), np.float32))
    assert seen.counts_N.sum() == 12
    for find in (least_square_range, entropy_range):
        assert find(seen) == (0, 0)


def square_error(values: NDArray[np.float32], low: float, high: float) -> float:
    """The mean square of what int8 codes of [low, high] do to values."""
    code = affine(low, high)
    return float(np.square(decode(encode(values, code), code) - values.astype(np.float64)).mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_range_of_least_error_is_near_that_of_trying_all(shape: str) -> None:
    values, seen = drawn(shape), histogram(drawn(shape))
    shares = np.linspace(0.04, 1, 25)
    ranges = itertools.product(min(seen.low, 0.0) * shares, max(seen.high, 0.0) * shares)
    every = min(square_error(values, low, high) for low, high in ranges)
    assert square_error(values, *least_square_range(seen)) <= every * 1.02


def test_an_outlier_is_worth_its_clipping_or_not_by_its_error() -> None:
    few, many = histogram(drawn("outlier", 100)), histogram(drawn("outlier", 200_000))
    assert least_square_range(few)[1] > 95
    assert least_square_range(many)[1] < 90


def slow_divergence(counts: list[int], start: int, stop: int, levels: int) -> float:
    """Migacz 2017, slide by slide, one number at a time."""
    p = [float(count) for count in counts[start:stop]]
    inside = list(p)
    p[0] += sum(counts[:start])
    p[-1] += sum(counts[stop:])
    q = [0.0] * len(p)
    for level in range(levels):
        group = [at for at in range(len(p)) if at * levels // len(p) == level]
        full = [at for at in group if p[at]]
        for at in full:
            q[at] = sum(inside[one] for one in group) / len(full)
    total = 0.0
    for one in (p, q):
        empty = one.count(0)
        for at, weight in enumerate(list(one)):
            one[at] = weight - SMOOTH * empty / (len(one) - empty) if weight else SMOOTH
    for a, b in zip(p, q, strict=True):
        total += a / sum(p) * math.log(a / sum(p) / (b / sum(q)))
    return total


@pytest.mark.parametrize("seed", range(8))
def test_entropy_finds_what_trying_every_window_by_hand_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells, levels = 32, 4
    counts = rng.poisson(200 * np.exp(-np.abs(np.arange(cells) - 15.5) / 3)) + 1
    seen = Histogram(counts_N=counts.astype(np.int64), power=4, low=-16.0, high=16.0)
    told = {
        reach: slow_divergence(counts.tolist(), 16 - reach, 16 + reach, levels)
        for reach in range(3, 17)
    }
    best = min(told, key=lambda reach: (told[reach], -reach))
    assert entropy_range(seen, levels, stride=1) == (-best, best)


def test_entropy_clips_where_onnxruntime_does() -> None:
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
    values = np.random.default_rng(0).standard_t(3, 400_000).astype(np.float32)
    values = values[np.abs(values) < 60]
    counts, edges = np.histogram(values, 2049, (-64.0, 64.0))
    theirs = calibrate.HistogramCollector("entropy", True, 2049, 128, 99.9, None)
    low, high = theirs.get_entropy_threshold((counts, edges, -60.0, 60.0, 60.0), 128)[:2]
    # It cuts a window's cells into groups of one size and a rest; here all sizes are alike.
    found = entropy_range(histogram(values, 2048), 128, stride=1)
    assert found == pytest.approx((float(low), float(high)), rel=0.15)
    assert found[1] < values.max() / 2


def test_a_side_without_values_takes_no_codes() -> None:
    low, high = entropy_range(histogram(drawn("one side")))
    assert -0.01 <= low <= 0.01 < high
