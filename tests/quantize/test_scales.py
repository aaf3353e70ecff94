"""Scales, zero points and codes, against formulas written another way."""

from fractions import Fraction

import numpy as np
import pytest

from minuet.quantize.scales import (
    Affine,
    affine,
    channel_scales,
    decode,
    encode,
    pack,
    symmetric,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (-0.28, 6.0), (0.5, 2.0), (-4.0, -1.0)])
def test_an_affine_code_covers_its_range_and_keeps_zero_exact(low: float, high: float) -> None:
    code = affine(low, high)
    ends = np.array([min(low, 0), max(high, 0)])
    assert np.abs(decode(encode(ends, code), code) - ends).max() <= code.scale
    assert decode(encode(np.zeros(1), code), code) == 0
    # 255 steps from end to end, by exact fractions
    wide = Fraction(max(high, 0.0)) - Fraction(min(low, 0.0))
    assert code.scale == pytest.approx(float(wide / 255), rel=1e-12)


def test_a_round_trip_errs_by_half_a_step_at_most() -> None:
    values = RNG.uniform(-0.28, 5, 10_000)
    code = affine(float(values.min()), float(values.max()))
    # zero's rounding may push one end out by half a step, where codes saturate
    inside = values[(values > -0.27) & (values < 4.98)]
    assert np.abs(decode(encode(inside, code), code) - inside).max() <= code.scale / 2 * 1.001


def test_the_error_has_the_variance_of_uniform_noise() -> None:
    values = RNG.uniform(-3, 5, 200_000)
    code = affine(-3, 5)
    error = decode(encode(values, code), code) - values
    assert error.var() == pytest.approx(code.scale**2 / 12, rel=0.02)  # Bennett 1948


def test_values_outside_saturate() -> None:
    code = affine(-1, 1)
    assert encode(np.array([-100.0, 100.0]), code).tolist() == [-128, 127]


def test_ties_go_to_even() -> None:
    code = Affine(scale=1.0, zero_point=0)
    assert encode(np.array([0.5, 1.5, 2.5, -0.5]), code).tolist() == [0, 2, 2, 0]


def test_a_symmetric_code_has_zero_at_zero_and_spends_half_on_nothing() -> None:
    code = symmetric(-0.28, 6.0)
    assert code.zero_point == 0
    assert code.scale == pytest.approx(6 / 127)
    assert code.scale > 1.9 * affine(-0.28, 6.0).scale


def test_a_range_of_nothing_still_has_a_scale() -> None:
    assert affine(0, 0).scale > 0 and symmetric(0, 0).scale > 0
    assert channel_scales(np.zeros((3, 4)))[0] > 0


@pytest.mark.parametrize("ends", [(1.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_what_is_no_range_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="range"):
        affine(*ends)


@pytest.mark.parametrize("axis", [0, 1])
def test_packing_keeps_each_channel_to_half_a_step(axis: int) -> None:
    weight = RNG.standard_normal((8, 6, 3, 3)) * (10.0 ** np.arange(-4, 4)).reshape(-1, 1, 1, 1)
    packed = pack(weight, axis)
    assert packed.codes.dtype == np.int8 and packed.codes.min() >= -127
    for channel in range(weight.shape[axis]):
        one = np.take(weight, channel, axis)
        step = max(abs(one.min()), abs(one.max())) / 127
        assert packed.scales[channel] == pytest.approx(step)
        assert np.abs(np.take(packed.unpack(), channel, axis) - one).max() <= step * 0.5001


def test_torch_rounds_to_the_same_codes() -> None:
    import torch
    import torchao.quantization.pt2e  # noqa: F401  (registers the operator)

    values = RNG.standard_normal(1000).astype(np.float32)
    code = affine(float(values.min()), float(values.max()))
    theirs = torch.ops.quantized_decomposed.quantize_per_tensor(
        torch.from_numpy(values), code.scale, code.zero_point, -128, 127, torch.int8
    )
    assert (theirs.numpy() != encode(values, code)).mean() < 0.005  # ties in float32
