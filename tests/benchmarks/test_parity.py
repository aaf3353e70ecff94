"""Parity sees what people see, with numbers that can be checked by hand."""

import math

import numpy as np
import pytest

from minuet.benchmarks.parity import SAME_DB, difference, insist, judge, not_run, worst_of
from minuet.benchmarks.tolerances import BY_RUNTIME, PARITY, tolerance
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import ParityError, RequestError


def frames(red: int, alpha: int) -> np.ndarray:
    value = np.zeros((2, 4, 3, 3), np.uint8)
    value[:, 0], value[:, 3] = red, alpha
    return value


def artifact(precision: str = "fp32") -> Artifact:
    return Artifact(target="onnx", precision=precision, entry="m", files=(), requires={})


def test_equal_frames_are_as_close_as_can_be() -> None:
    same = difference(frames(9, 255), frames(9, 255))
    assert same.psnr_db == SAME_DB and same.worst == 0
    assert same.cosine == pytest.approx(1)


def test_one_channel_off_by_one_is_the_known_psnr() -> None:
    found = difference(frames(100, 255), frames(101, 255))
    # A quarter of the values is off by 1/255.
    assert found.psnr_db == pytest.approx(-10 * math.log10((1 / 255) ** 2 / 4))
    assert found.worst == pytest.approx(1)


def test_invisible_colour_counts_nothing() -> None:
    assert difference(frames(0, 0), frames(255, 0)).psnr_db == SAME_DB


def test_half_visible_colour_counts_half() -> None:
    assert difference(frames(0, 51), frames(200, 51)).worst == pytest.approx(200 * 51 / 255)


def test_the_worst_of_several_cases_is_kept() -> None:
    near = difference(frames(100, 255), frames(101, 255))
    far = difference(frames(100, 255), frames(150, 255))
    assert worst_of([near, far]) == far


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="against"):
        difference(frames(0, 0), frames(0, 0)[:1])


def test_a_verdict_carries_its_evidence() -> None:
    near = difference(frames(100, 255), frames(100, 255))
    far = difference(frames(100, 255), frames(150, 255))
    passed = judge(artifact(), "ort", "onnxruntime 1", near)
    failed = judge(artifact(), "ort", "onnxruntime 1", far)
    assert passed.verdict == "pass" and passed.backend == "ort: onnxruntime 1"
    assert failed.verdict == "fail" and failed.value == pytest.approx(far.psnr_db, abs=0.01)
    insist(artifact(), passed)
    insist(artifact(), not_run("coreml", "only on macOS"))
    with pytest.raises(ParityError, match=r"onnx-fp32 on ort.*dB against eager.*needed"):
        insist(artifact(), failed)


def test_every_tolerance_has_a_reason_and_fewer_bits_never_need_more() -> None:
    rows = {**{(*key, ""): value for key, value in PARITY.items()}, **BY_RUNTIME}
    assert all(len(row.reason) > 20 and row.psnr_db > 0 for row in rows.values())
    for target in ("onnx", "coreml"):
        assert PARITY[target, "fp32"].psnr_db > PARITY[target, "fp16"].psnr_db


def test_a_pair_that_nobody_decided_is_refused() -> None:
    with pytest.raises(RequestError, match="no parity tolerance"):
        tolerance("onnx", "int4")
