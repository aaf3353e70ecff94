"""Rounded weights are near the given ones, and the same numbers in every target's arithmetic."""

import numpy as np
import pytest

from minuet.contracts.codes import block_of, coded, find
from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Array
from minuet.quantize.groups import pack4, pack8, pack_palette
from minuet.quantize.palettes import palettize


def drawn(*shape: int) -> Array:
    rng = np.random.default_rng(0)
    return (
        rng.standard_normal(shape) * rng.lognormal(size=(shape[0], *[1] * (len(shape) - 1)))
    ).astype(np.float32)


def db(weight: Array, made: Array) -> float:
    return float(10 * np.log10(np.square(weight).mean() / np.square(weight - made).mean()))


def test_eight_bits_are_within_half_a_step_of_their_row() -> None:
    weight = drawn(32, 16, 3, 3)
    made = pack8(weight)
    steps = np.abs(weight).max((1, 2, 3), keepdims=True) / 127
    assert np.allclose(made.scales, steps, rtol=2**-10)
    assert (np.abs(made.unpack() - weight) <= 0.57 * steps).all()  # half, and float16's rounding


def test_four_bits_are_better_than_steps_by_the_largest_number() -> None:
    weight = drawn(64, 128)
    groups = weight.reshape(64, 4, 32)
    steps = np.abs(groups).max(2, keepdims=True) / 7
    plain = (np.rint(groups / steps) * steps).reshape(64, 128)
    made = pack4(weight)
    assert made.scales.shape == (64, 4) and made.bytes == 64 * 128 / 2 + 64 * 4 * 2
    assert db(weight, made.unpack()) > db(weight, plain) + 0.3


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shape", [(64, 64), (16, 96, 3, 3), (32, 3, 3, 3), (8, 1, 5, 5), (10, 7)])
def test_a_writer_finds_the_codes_again(shape: tuple[int, ...], dtype: type) -> None:
    for scale in (1e-3, 1.0, 100.0):
        weight = drawn(*shape) * np.float32(scale)
        for made in (pack4(weight), pack8(weight)):
            found = find(made.unpack(dtype), made.bits, block_of(shape, made.bits))
            assert found is not None
            assert np.array_equal(found.unpack(dtype), made.unpack(dtype))


def test_four_bits_lose_nothing_more_in_float16() -> None:
    made = pack4(drawn(64, 64))
    assert np.array_equal(made.unpack(np.float16).astype(np.float32), made.unpack())


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("shape", [(64, 64), (16, 96, 3, 3), (10, 7)])
def test_what_four_bits_can_say_they_say_again(shape: tuple[int, ...], scale: float) -> None:
    once = pack4(drawn(*shape) * np.float32(scale))
    again = pack4(once.unpack())
    assert np.array_equal(again.codes, once.codes) and np.array_equal(again.scales, once.scales)


def test_colours_of_a_palette_become_int8_with_one_scale() -> None:
    weight = drawn(64, 64)
    made = pack_palette(weight, 4)
    assert made.scales.shape == (1, 1) and len(np.unique(made.codes)) <= 16
    assert db(weight, made.unpack()) > db(weight, palettize(weight, 4).unpack()) - 0.2
    found = coded(made.unpack(np.float16))
    assert found is not None and np.array_equal(np.unique(found.codes), np.unique(made.codes))


def test_a_weight_that_no_scale_fits_is_refused() -> None:
    for broken in (np.float32(np.nan), np.float32(1e6)):
        with pytest.raises(RequestError, match="not in float16's range"):
            pack4(np.full((4, 4), broken))
