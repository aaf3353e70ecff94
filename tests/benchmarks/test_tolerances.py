"""Every tolerance comes from a measured floor, and the floor can be measured again."""

import pytest
import torch

from minuet.benchmarks.noise_floor import measure, programs
from minuet.benchmarks.parity_graph import depth
from minuet.benchmarks.tolerances import (
    ARITHMETIC,
    BY_RUNTIME,
    DEPTHS,
    FLOORS,
    MARGIN_DB,
    PSNR,
    REASONS,
    SNR,
    allowed,
    floor,
    tolerance,
)
from minuet.contracts.errors import RequestError

STEP_DB = 4.0  # how far one seed may be above the worst of four, or below by another library


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, str], float]:
    return measure(DEPTHS[0], seeds=(0,))


def test_the_floors_are_what_is_measured(measured: dict[tuple[str, str], float]) -> None:
    assert set(measured) == set(FLOORS)
    for key, found in measured.items():
        recorded = FLOORS[key][0]
        assert recorded - STEP_DB / 2 <= found <= recorded + 2 * STEP_DB, (key, found, recorded)


def test_the_networks_are_as_deep_as_they_say() -> None:
    for wanted in DEPTHS[:2]:
        for program, _ in programs(wanted, (0,)):
            assert wanted - 4 <= depth(program) <= wanted


def test_every_arithmetic_has_a_reason_and_both_floors() -> None:
    for arithmetic in {*ARITHMETIC.values(), *BY_RUNTIME.values()}:
        assert len(REASONS[arithmetic]) > 20
        assert len(FLOORS[arithmetic, SNR]) == len(FLOORS[arithmetic, PSNR]) == len(DEPTHS)


@pytest.mark.parametrize("metric", [PSNR, SNR])
@pytest.mark.parametrize("depth", [1, 8, 20, 128, 500])
def test_fewer_bits_are_never_asked_for_more(metric: str, depth: int) -> None:
    order = ("fp32", "fp16", "bf16")
    asked = [allowed(name, metric, depth).db for name in order]
    assert asked == sorted(asked, reverse=True)


@pytest.mark.parametrize("key", FLOORS)
def test_deeper_programs_are_never_asked_for_more(key: tuple[str, str]) -> None:
    asked = [floor(*key, depth) for depth in (1, 8, 9, 31, 32, 64, 127, 128, 129, 1000)]
    assert asked == sorted(asked, reverse=True)


def test_beyond_what_was_measured_noise_doubles_with_depth() -> None:
    assert floor("fp16", SNR, 256) == pytest.approx(FLOORS["fp16", SNR][-1] - 3.0103)


def test_a_tolerance_is_a_floor_less_the_margin() -> None:
    asked = tolerance("onnx", "fp16", metric=SNR, depth=DEPTHS[0])
    assert asked.db == pytest.approx(FLOORS["fp16", SNR][0] - MARGIN_DB, abs=0.05)


def test_a_runtime_that_computes_in_less_is_asked_for_less() -> None:
    usual, own = tolerance("onnx", "fp32", "ort"), tolerance("onnx", "fp32", "openvino-bf16")
    assert usual.arithmetic == "fp32" and own.arithmetic == "bf16" and own.db < usual.db


def test_a_pair_that_nobody_decided_is_refused() -> None:
    with pytest.raises(RequestError, match="no parity tolerance"):
        tolerance("onnx", "int4")


def test_the_floor_of_float32_is_not_made_of_luck() -> None:
    """Torch's own random state is left out of it: the same seed, the same network."""
    (one, x), (two, _) = (next(iter(programs(DEPTHS[0], (0,)))) for _ in range(2))
    assert torch.equal(one.module()(*x)[0], two.module()(*x)[0])
