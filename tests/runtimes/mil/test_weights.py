"""Compressed weights of Core ML unfold to what was folded, in the forms of iOS 16 and iOS 18."""

from typing import Any

import numpy as np
import pytest

from minuet.contracts.tensors import Array
from minuet.runtimes.mil.operations import OPERATIONS
from minuet.runtimes.mil.values import Type, unpacked

RNG = np.random.default_rng(13)
PALETTE = np.array([10, 20, 30, 40], np.float16)


def packed(codes: Array, bits: int) -> Array:
    """The first code in the lowest bits of the first byte."""
    whole = sum(int(code) << (bits * i) for i, code in enumerate(codes.reshape(-1)))
    return np.frombuffer(whole.to_bytes(-(-codes.size * bits // 8), "little"), np.uint8).copy()


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6])
def test_codes_of_less_than_a_byte_are_unpacked(bits: int) -> None:
    codes = RNG.integers(0, 2**bits, 13)
    kind = Type("code", "uint8", bits, signed=False)
    np.testing.assert_array_equal(unpacked(packed(codes, bits), kind, 13), codes)


def test_four_bits_may_have_a_sign() -> None:
    found = unpacked(np.array([0x8F, 0x07], np.uint8), Type("int4", "int8", 4), 4)
    assert found.tolist() == [-1, -8, 7, 0]


def test_affine_weights() -> None:
    codes = RNG.integers(-128, 128, (3, 4)).astype(np.int8)
    scale, zero = np.array([0.5, 2, 1], np.float16), np.array([1, -2, 0], np.int8)
    a = {"quantized_data": codes, "scale": scale, "zero_point": zero, "axis": np.int32(0)}
    found = OPERATIONS["constexpr_affine_dequantize"](a).numpy()
    expected = (codes - zero[:, None].astype(float)) * scale[:, None]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("offset", [False, True])
def test_weights_scaled_by_block(offset: bool) -> None:
    codes = RNG.integers(-8, 8, (4, 6)).astype(np.int8)
    scale = RNG.uniform(0.1, 1, (2, 3)).astype(np.float32)
    zero = RNG.integers(-2, 2, (2, 3)).astype(np.int8)
    a = {"data": codes, "scale": scale, **({"offset": zero} if offset else {})}
    found = OPERATIONS["constexpr_blockwise_shift_scale"](a).numpy()
    for i, j in np.ndindex(4, 6):
        shift = zero[i // 2, j // 2] if offset else 0
        assert found[i, j] == pytest.approx((codes[i, j] - shift) * scale[i // 2, j // 2])


def test_a_palette_of_ios_16() -> None:
    codes = RNG.integers(0, 4, (3, 5))
    a = {"indices": packed(codes, 2), "lut": PALETTE, "shape": np.array([3, 5], np.uint32)}
    found = OPERATIONS["constexpr_lut_to_dense"](a).numpy()
    np.testing.assert_array_equal(found, PALETTE[codes])


def test_palettes_of_ios_18_by_group() -> None:
    # The example of coremltools' definition.
    codes = np.array([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3], np.uint8).reshape(6, 2)
    lut = np.array([1, 5, 9, 13, 2, 10, 18, 26], np.float16).reshape(2, 1, 4, 1)
    found = OPERATIONS["constexpr_lut_to_dense"]({"indices": codes, "lut": lut})
    expected = [[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]]
    np.testing.assert_array_equal(found.numpy(), expected)


def test_palettes_of_vectors_lie_along_their_axis() -> None:
    codes = np.array([[0, 1], [1, 0]], np.uint8)
    lut = np.array([[1, 2], [3, 4]], np.float16).reshape(1, 1, 2, 2)
    a = {"indices": codes, "lut": lut}
    along = OPERATIONS["constexpr_lut_to_dense"]({**a, "vector_axis": np.int32(1)})
    np.testing.assert_array_equal(along.numpy(), [[1, 2, 3, 4], [3, 4, 1, 2]])
    down = OPERATIONS["constexpr_lut_to_dense"]({**a, "vector_axis": np.int32(0)})
    np.testing.assert_array_equal(down.numpy(), [[1, 3], [2, 4], [3, 1], [4, 2]])


MASK = np.array([[1, 0, 1], [0, 1, 1]], np.uint8)


def test_sparse_weights_of_both_releases() -> None:
    values = np.array([5, 6, 7, 8], np.float16)
    expected = [[5, 0, 6], [0, 7, 8]]
    new = OPERATIONS["constexpr_sparse_to_dense"]({"nonzero_data": values, "mask": MASK})
    np.testing.assert_array_equal(new.numpy(), expected)
    a = {"nonzero_data": values, "mask": packed(MASK, 1), "shape": np.array([2, 3], np.uint32)}
    np.testing.assert_array_equal(OPERATIONS["constexpr_sparse_to_dense"](a).numpy(), expected)


def test_sparse_weights_may_be_palettized_or_scaled_as_well() -> None:
    codes = np.array([0, 1, 2, 3], np.uint8)
    a: dict[str, Any] = {"indices_mask": MASK, "indices_nonzero_data": codes}
    mask, values = OPERATIONS["constexpr_lut_to_sparse"]({**a, "lut": PALETTE.reshape(1, 1, 4, 1)})
    assert values.tolist() == [10, 20, 30, 40] and mask.tolist() == MASK.tolist()
    a = {"data_mask": MASK, "nonzero_data": codes, "scale": np.array([[2], [3]], np.float16)}
    _, values = OPERATIONS["constexpr_sparse_blockwise_shift_scale"](a)
    assert values.tolist() == [0, 2, 6, 9]


def test_a_cast_of_weights() -> None:
    found = OPERATIONS["constexpr_cast"]({"source_val": PALETTE, "output_dtype": "fp32"})
    assert found.tolist() == PALETTE.tolist()


@pytest.mark.parametrize("name", ["int8", "uint8"])
def test_codes_and_numbers_by_axis(name: str) -> None:
    x = RNG.uniform(-300, 300, (2, 3)).astype(np.float32)
    scale, low = np.array([1, 2, 0.5], np.float32), np.iinfo(name).min
    zero = np.array([0, 1, 2], name)
    how = {"scale": scale, "zero_point": zero, "axis": np.int32(1)}
    codes = OPERATIONS["quantize"]({"input": x, "output_dtype": name, **how}).numpy()
    expected = np.clip(np.round(x / scale) + zero, low, np.iinfo(name).max)
    np.testing.assert_array_equal(codes, expected)
    back = OPERATIONS["dequantize"]({"input": codes, **how}).numpy()
    np.testing.assert_allclose(back, (expected - zero) * scale)
