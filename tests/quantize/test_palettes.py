"""Palettes against exhaustive search and plain loops."""

from itertools import combinations

import numpy as np
import pytest

from minuet.contracts.errors import RequestError
from minuet.quantize.palettes import BITS, packed_bytes, palettize

RNG = np.random.default_rng(0)


def mean_square(weight: np.ndarray, bits: int) -> float:
    return float(np.square(palettize(weight, bits).unpack() - weight).mean())


@pytest.mark.parametrize("bits", BITS)
def test_a_weight_of_few_numbers_comes_back_exactly(bits: int) -> None:
    numbers = RNG.standard_normal(2**bits).astype(np.float32)
    weight = RNG.choice(numbers, (64, 33))
    found = palettize(weight, bits)
    np.testing.assert_array_equal(found.unpack(), weight)
    assert len(found.values_K) <= 2**bits and found.codes.dtype == np.uint8


def test_every_number_becomes_the_nearest_colour() -> None:
    weight = RNG.standard_normal((40, 25)).astype(np.float32)
    found = palettize(weight, 3)
    nearest = np.abs(weight[..., None] - found.values_K).argmin(axis=-1)
    np.testing.assert_array_equal(found.codes, nearest)


def test_every_colour_is_the_mean_of_what_took_it() -> None:
    weight = RNG.laplace(size=5000).astype(np.float32)
    found = palettize(weight, 4)
    for code, value in enumerate(found.values_K):
        assert value == pytest.approx(weight[found.codes == code].mean(dtype=np.float64), rel=1e-5)


def test_four_colours_of_few_numbers_are_near_the_best_there_are() -> None:
    weight = np.sort(RNG.standard_normal(24)).astype(np.float32)
    best = min(
        sum(np.square(part - part.mean()).sum() for part in np.split(weight, cuts))
        for cuts in combinations(range(1, len(weight)), 3)
    )
    assert mean_square(weight, 2) * len(weight) <= 1.2 * best


def test_a_bell_shaped_weight_loses_what_theory_says() -> None:
    # Max 1960 (IRE Trans. Inform. Theory 6, 1), table 1: the best 16 levels of a normal variable.
    weight = RNG.standard_normal(200_000).astype(np.float32)
    assert mean_square(weight, 4) == pytest.approx(0.009497, rel=0.03)


def test_more_bits_lose_less() -> None:
    weight = RNG.standard_normal((64, 64)).astype(np.float32)
    errors = [mean_square(weight, bits) for bits in BITS]
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0] / 500


def test_the_same_weight_gives_the_same_palette() -> None:
    weight = RNG.standard_normal((64, 64)).astype(np.float32)
    one, other = palettize(weight, 4), palettize(weight.copy(), 4)
    assert one.values_K.tobytes() == other.values_K.tobytes()
    assert one.codes.tobytes() == other.codes.tobytes()


def test_codes_are_packed_and_tables_counted() -> None:
    assert packed_bytes(1000, 4) == 500 + 16 * 2
    assert packed_bytes(1001, 3) == 376 + 8 * 2


def test_what_no_palette_fits_is_refused() -> None:
    with pytest.raises(RequestError, match="2, 3, 4, 6, 8 bits, not 5"):
        palettize(np.zeros(4, np.float32), 5)
    with pytest.raises(RequestError, match="not finite"):
        palettize(np.array([1.0, np.nan], np.float32), 4)
