"""Parity sees what people see, with numbers that can be checked by hand."""

import math

import numpy as np
import pytest

from minuet.benchmarks.parity import (
    SAME_DB,
    difference,
    insist,
    judge,
    not_run,
    plain,
    worst_of,
)
from minuet.benchmarks.tolerances import PSNR, SNR
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import ParityError
from minuet.contracts.tensors import Array


def frames(red: int, alpha: int) -> Array:
    value = np.zeros((2, 4, 3, 3), np.uint8)
    value[:, 0], value[:, 3] = red, alpha
    return value


def artifact(precision: str = "fp32") -> Artifact:
    return Artifact(target="onnx", precision=precision, entry="m", files=(), requires={})


# --- frames ------------------------------------------------------------------------------------


def test_equal_frames_are_as_close_as_can_be() -> None:
    same = difference(frames(9, 255), frames(9, 255))
    assert (same.metric, same.db, same.worst, same.at) == (PSNR, SAME_DB, 0, (0, 0, 0, 0))
    assert same.cosine == pytest.approx(1)


def test_one_channel_off_by_one_is_the_known_psnr() -> None:
    found = difference(frames(100, 255), frames(101, 255))
    # A quarter of the values is off by 1/255.
    assert found.db == pytest.approx(-10 * math.log10((1 / 255) ** 2 / 4))
    assert found.worst == pytest.approx(1)


def test_invisible_colour_counts_nothing() -> None:
    assert difference(frames(0, 0), frames(255, 0)).db == SAME_DB


def test_half_visible_colour_counts_half() -> None:
    assert difference(frames(0, 51), frames(200, 51)).worst == pytest.approx(200 * 51 / 255)


def test_pictures_without_alpha_are_compared_as_they_are() -> None:
    black, grey = np.zeros((1, 3, 4, 4), np.uint8), np.full((1, 3, 4, 4), 51, np.uint8)
    assert difference(black, grey).db == pytest.approx(-20 * math.log10(51 / 255))


# --- floats ------------------------------------------------------------------------------------


def test_floats_are_judged_by_signal_over_noise() -> None:
    expected = np.full(100, 2.0)
    found = difference(expected, expected + 0.02)
    assert found.metric == SNR and found.db == pytest.approx(40)


def test_scale_does_not_matter_to_signal_over_noise() -> None:
    rng = np.random.default_rng(0)
    expected, noise = rng.standard_normal((2, 50))
    near = difference(expected, expected + 0.01 * noise)
    far = difference(1e6 * expected, 1e6 * (expected + 0.01 * noise))
    assert near.db == pytest.approx(far.db)


def test_the_worst_element_is_found_with_its_values() -> None:
    expected = np.zeros((3, 4))
    found = expected.copy()
    found[1, 2], found[0, 0] = -5, 2
    one = difference(expected, found)
    assert (one.at, one.expected, one.found, one.worst) == ((1, 2), 0, -5, 5)


def test_a_narrower_float_may_be_compared_with_the_oracle() -> None:
    expected = np.linspace(-1, 1, 7)
    assert difference(expected, expected.astype(np.float32)).db > 140


def test_turned_round_is_a_cosine_of_minus_one() -> None:
    expected = np.arange(1.0, 5)
    assert difference(expected, -expected).cosine == pytest.approx(-1)


def test_silence_against_noise_is_as_far_as_can_be() -> None:
    assert difference(np.zeros(4), np.full(4, 1e-9)).db == -SAME_DB
    assert difference(np.zeros(4), np.zeros(4)).db == SAME_DB


# --- what is never a pass -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_a_fault_with_its_place(value: float) -> None:
    found = np.ones((10, 10))
    found[3, 7] = value
    one = difference(np.ones((10, 10)), found)
    assert one.at == (3, 7) and "1 of 100 values are not numbers" in one.fault
    assert judge(artifact(), "ort", "", one).verdict == "fail"


def test_infinity_where_infinity_is_expected_is_no_fault() -> None:
    mask = np.array([0.0, -np.inf, 1.0])
    assert difference(mask, mask.copy()).fault == "" and difference(mask, -mask).fault


def test_nan_is_not_even_itself() -> None:
    broken = np.array([1.0, np.nan])
    assert "the reference is not finite" in difference(broken, broken).fault


@pytest.mark.parametrize(
    "other", [frames(0, 0)[:1], frames(0, 0).astype(np.float32), frames(0, 0).astype(np.int8)]
)
def test_another_shape_or_dtype_always_fails(other: Array) -> None:
    one = difference(frames(0, 0), other)
    assert "where uint8 (2, 4, 3, 3) is expected" in one.fault
    assert judge(artifact(), "ort", "", one).verdict == "fail"


def test_nothing_at_all_is_equal_to_nothing_at_all() -> None:
    assert difference(np.zeros(0), np.zeros(0)).db == SAME_DB


# --- verdicts -----------------------------------------------------------------------------------


def test_the_worst_of_several_cases_is_kept() -> None:
    near = difference(frames(100, 255), frames(101, 255))
    far = difference(frames(100, 255), frames(150, 255))
    assert worst_of([near, far]) == far


def test_a_fault_is_worse_than_any_number() -> None:
    far = difference(np.ones(3), -100 * np.ones(3))
    broken = difference(np.ones(3), np.array([1, 1, np.nan]))
    assert worst_of([far, broken]).fault == worst_of([broken, far]).fault == broken.fault


def test_a_verdict_carries_its_evidence() -> None:
    near = difference(frames(100, 255), frames(100, 255))
    far = difference(frames(100, 255), frames(150, 255))
    passed = judge(artifact(), "ort", "onnxruntime 1", near)
    failed = judge(artifact(), "ort", "onnxruntime 1", far)
    assert passed.verdict == "pass" and passed.backend == "ort: onnxruntime 1"
    assert failed.verdict == "fail" and failed.value == pytest.approx(far.db, abs=0.01)
    insist(artifact(), passed)
    insist(artifact(), not_run("coreml", "only on macOS"))
    with pytest.raises(ParityError, match=r"onnx-fp32 on ort.*dB against eager.*needed"):
        insist(artifact(), failed)


def test_floats_and_frames_are_held_to_their_own_tolerances() -> None:
    one = difference(np.ones(10), np.full(10, 1 + 1e-4))  # 80 dB
    assert judge(artifact("fp32"), "ort", "", one).verdict == "fail"
    assert judge(artifact("fp16"), "ort", "", one).verdict == "pass"


def test_a_difference_is_plain_json() -> None:
    import json

    broken = difference(np.ones(2), np.array([1, np.nan]))
    row = json.loads(json.dumps(plain(broken), allow_nan=False))
    assert (row["found"], row["worst"], row["at"]) == ("nan", "inf", [1])
