"""Palettes against exhaustive search and plain loops."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from minuet.contracts.errors import DamagedError, RequestError
from minuet.quantize.palettes import (
    BITS,
    CODES,
    TABLE,
    nearest,
    packed_bytes,
    palettize,
    to_arrays,
    unpacked,
)

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


def test_a_weight_counts_by_the_energy_of_what_it_multiplies() -> None:
    energies = RNG.gamma(0.5, size=(1, 16, 3, 3))  # and a loud input has small weights, as it goes
    weight = RNG.standard_normal((8, 16, 3, 3)) / np.sqrt(energies + 1e-3)
    weight = weight.astype(np.float32)

    def cost(colours: np.ndarray) -> float:
        return math.fsum(
            energies[0, i, y, x] * (float(weight[o, i, y, x]) - float(colours[o, i, y, x])) ** 2
            for o, i, y, x in np.ndindex(weight.shape)
        )

    for bits in (2, 3, 4):
        weighted, plain = palettize(weight, bits, energies), palettize(weight, bits)
        assert cost(weighted.unpack()) < 0.9 * cost(plain.unpack())
        squares = [np.square(one.unpack() - weight).sum() for one in (weighted, plain)]
        assert squares[0] > squares[1]


def test_every_colour_is_the_weighted_mean_of_what_took_it() -> None:
    weight = RNG.laplace(size=(50, 40)).astype(np.float32)
    energies = RNG.gamma(1.0, size=(1, 40))
    found = palettize(weight, 3, energies)
    each = np.broadcast_to(energies, weight.shape)
    for code, value in enumerate(found.values_K):
        took = found.codes == code
        assert value == pytest.approx(np.average(weight[took], weights=each[took]), rel=1e-5)


@pytest.mark.parametrize("energy", [1.0, 0.0, 3e-5, 7e20])
def test_equal_energies_are_none_at_all(energy: float) -> None:
    weight = RNG.standard_normal((64, 32)).astype(np.float32)
    plain, weighted = palettize(weight, 4), palettize(weight, 4, np.full((1, 32), energy))
    np.testing.assert_array_equal(plain.codes, weighted.codes)
    np.testing.assert_allclose(plain.values_K, weighted.values_K, rtol=1e-6)


def test_a_weight_that_multiplied_nothing_still_has_a_near_colour() -> None:
    weight = np.concatenate([RNG.standard_normal(1000), RNG.standard_normal(1000) + 50])
    energies = np.repeat([1.0, 0.0], 1000)
    found = palettize(weight.astype(np.float32), 4, energies).unpack()
    assert np.abs(found[1000:] - weight[1000:]).max() < 10


@pytest.mark.parametrize("energy", [np.nan, np.inf, -1.0])
def test_energies_that_are_no_squares_are_refused(energy: float) -> None:
    weight = RNG.standard_normal((8, 8)).astype(np.float32)
    with pytest.raises(RequestError, match="not finite squares"):
        palettize(weight, 2, np.full((1, 8), energy))


def test_the_nearest_of_given_colours_is_taken() -> None:
    weight = RNG.standard_normal(500).astype(np.float32)
    colours = np.array([0.5, -1.0, 2.0, 0.5], np.float32)
    found = nearest(weight, colours)
    np.testing.assert_array_equal(found.values_K, [-1.0, 0.5, 2.0])
    np.testing.assert_array_equal(
        found.unpack(), colours[np.abs(weight[:, None] - colours).argmin(axis=1)]
    )


STORED = "layer.weight"


def stored() -> dict[str, np.ndarray]:
    weight = np.random.default_rng(1).standard_normal((6, 5)).astype(np.float32)
    return {**to_arrays({STORED: palettize(weight, 3)}), "layer.bias": np.zeros(6, np.float32)}


def test_stored_palettes_come_back_as_their_weights() -> None:
    weight = np.random.default_rng(1).standard_normal((6, 5)).astype(np.float32)
    found = unpacked(stored(), "tensors")
    assert sorted(found) == ["layer.bias", STORED]
    np.testing.assert_array_equal(found[STORED], palettize(weight, 3).unpack())
    again = palettize(found[STORED], 3)  # as an exporter finds it: nothing is searched again
    np.testing.assert_array_equal(again.unpack(), found[STORED])


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (lambda all_: all_[STORED + CODES].__setitem__((0, 0), 8), "outside their table"),
        (lambda all_: all_.update({STORED + CODES: all_[STORED + CODES].astype("i4")}), "outside"),
        (lambda all_: all_.update({STORED + TABLE: np.zeros((0,), "f4")}), "outside their table"),
        (lambda all_: all_.update({STORED + TABLE: np.zeros((8, 1), "f4")}), "outside their table"),
        (lambda all_: all_[STORED + TABLE].fill(np.nan), "not of finite float32"),
        (lambda all_: all_.update({STORED + TABLE: np.zeros(8, "f8")}), "not of finite float32"),
        (lambda all_: all_["layer.bias"].fill(np.inf), "layer.bias is not of finite float32"),
        (lambda all_: all_.pop(STORED + TABLE), "not codes and one table"),
        (lambda all_: all_.pop(STORED + CODES), "not codes and one table"),
        (lambda all_: all_.update({STORED: np.zeros((6, 5), "f4")}), "not codes and one table"),
    ],
)
def test_tampered_palettes_are_refused(
    tamper: Callable[[dict[str, np.ndarray]], object], words: str
) -> None:
    arrays = stored()
    tamper(arrays)
    with pytest.raises(DamagedError, match=words):
        unpacked(arrays, "tensors")
