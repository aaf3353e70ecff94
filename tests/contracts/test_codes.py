"""Codes and scales are found again in the weights that were made of them, and in no others."""

import numpy as np
import pytest

from minuet.contracts.codes import (
    Coded,
    block_max,
    block_of,
    coded,
    encode,
    find,
    packed_nibbles,
    spread,
)

SHAPES = [(64, 64), (48, 96), (37, 37), (32, 4, 3, 3), (16, 1, 3, 3), (24, 64, 3, 3), (8, 50, 1, 1)]
BLOCKS = [(1, 32), (1, 32), (1, 37), (1, 4, 3, 3), (1, 1, 3, 3), (1, 32, 1, 1), (1, 25, 1, 1)]


def made_of(shape: tuple[int, ...], bits: int, block: tuple[int, ...], seed: int = 0) -> Coded:
    """Seeded codes, the largest in every block, times scales over five orders of magnitude."""
    rng = np.random.default_rng(seed)
    counts = tuple(size // width for size, width in zip(shape, block, strict=True))
    scales = np.exp(rng.uniform(-9, 2, counts))
    scales = np.ldexp(np.rint(np.ldexp(scales, 8 - np.frexp(scales)[1])), np.frexp(scales)[1] - 8)
    scales = np.maximum(scales, 2.0**-14).astype(np.float16)
    weight = rng.standard_normal(shape) * spread(scales.astype(np.float64), shape) * 2**bits / 4
    first = block_max(weight, block)
    high = spread(scales.astype(np.float64) / first, shape) * (2 ** (bits - 1) - 1)
    return encode(weight * high, scales, bits)


@pytest.mark.parametrize(("shape", "block"), list(zip(SHAPES, BLOCKS, strict=True)))
def test_a_group_is_a_box_of_about_32_inputs(
    shape: tuple[int, ...], block: tuple[int, ...]
) -> None:
    assert block_of(shape, 4) == block
    assert block_of(shape, 8) == (1, *shape[1:])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_codes_of_a_weight_are_found_bit_for_bit(
    shape: tuple[int, ...], bits: int, dtype: type
) -> None:
    made = made_of(shape, bits, block_of(shape, bits))
    found = coded(made.unpack(dtype))
    assert found is not None and found.bits == bits
    assert np.array_equal(found.unpack(dtype), made.unpack(dtype))
    assert found.bytes == made.bytes


def test_the_numbers_are_codes_times_scales() -> None:
    made = made_of((4, 64), 4, (1, 32))
    by_hand = [
        [float(made.codes[o, i]) * float(made.scales[o, i // 32]) for i in range(64)]
        for o in range(4)
    ]
    assert np.array_equal(made.unpack(), np.array(by_hand, np.float32))


def test_a_transposed_matrix_is_found_as_it_lies() -> None:
    made = made_of((48, 96), 4, (1, 32)).turned()
    found = coded(made.unpack())
    assert found is not None and found.codes.shape == (96, 48) and found.scales.shape == (3, 48)
    assert np.array_equal(found.unpack(), made.unpack())


def test_one_number_that_is_off_by_its_last_bit_is_no_code() -> None:
    weight = made_of((64, 64), 8, (1, 64)).unpack()
    weight[5, 7] = np.nextafter(weight[5, 7] + np.float32(1e-6), np.float32(9))
    assert find(weight, 8, (1, 64)) is None and coded(weight) is None


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e30])
def test_any_other_weight_has_none(scale: float) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64)) * scale
    assert coded(weight.astype(np.float32)) is None
    assert coded(np.ones(3, np.float32)) is None and coded(np.zeros((0, 4), np.float32)) is None
    assert coded(np.full((8, 8), np.nan, np.float32)) is None


def test_two_codes_a_byte_the_first_half_low() -> None:
    packed = packed_nibbles(np.array([-7, 0, 7, 1], np.int8))
    assert packed.tolist() == [(7 + 8) << 4 | (-7 + 8), (1 + 8) << 4 | 8]
    for count in (7, 8):
        codes = np.random.default_rng(0).integers(-7, 8, (count, 3)).astype(np.int8)
        both = packed_nibbles(codes).astype(np.int8)
        again = np.concatenate([both & 15, both >> 4 & 15])[: codes.size] - 8
        assert np.array_equal(again.reshape(codes.shape), codes)
