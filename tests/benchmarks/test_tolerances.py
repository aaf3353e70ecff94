"""Every tolerance comes from a measured floor, and the floor can be measured again."""

import math

import numpy as np
import pytest
import torch

from minuet.benchmarks.noise_floor import measure, programs
from minuet.benchmarks.parity_graph import depth
from minuet.benchmarks.tolerances import (
    ARITHMETIC,
    BY_RUNTIME,
    DEPTHS,
    EASED_DB,
    FLOORS,
    LEAST_DB,
    MARGIN_DB,
    MARGINS_DB,
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


def test_only_int8_has_a_margin_of_its_own() -> None:
    assert set(MARGINS_DB) == {"int8"}
    asked = [[allowed("fp32", metric, d).db for d in DEPTHS] for metric in (PSNR, SNR)]
    assert asked == [[79.1, 79.1, 75.2], [105.0, 101.8, 101.5]]


# --- by the reference's own noise ----------------------------------------------------------------


def asked(own_db: float, metric: str = SNR, precision: str = "fp32") -> float:
    return tolerance("onnx", precision, metric=metric, own_db=own_db).db


def test_a_noisy_reference_asks_for_its_own_noise_less_the_margin() -> None:
    found = tolerance("onnx", "fp32", metric=SNR, own_db=97.3)
    assert found.db == pytest.approx(97.3 - MARGIN_DB)
    assert "by its own noise" in found.reason and "97.3 dB" in found.reason
    assert "the table: 101.5 dB" in found.reason


def test_a_quiet_reference_never_asks_for_more_than_the_table() -> None:
    found = tolerance("onnx", "fp32", metric=SNR, own_db=131.0)
    assert found.db == allowed("fp32", SNR).db and found.reason.startswith("by the table")


@pytest.mark.parametrize("metric", [PSNR, SNR])
@pytest.mark.parametrize("own_db", [90.0, 40.0, 0.0, -200.0, float("-inf")])
def test_no_noise_is_an_excuse_below_the_least(metric: str, own_db: float) -> None:
    assert asked(own_db, metric) >= LEAST_DB[metric]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("own_db", [30.0, 10.0, -200.0, float("-inf")])
def test_a_narrow_type_is_eased_by_twice_the_noise_at_most(precision: str, own_db: float) -> None:
    table = tolerance("onnx", precision, metric=SNR).db
    assert asked(own_db, SNR, precision) == pytest.approx(table - EASED_DB)
    assert asked(table + 3, SNR, precision) == pytest.approx(table + 3 - MARGIN_DB)
    assert asked(table + 20, SNR, precision) == table


def test_integers_are_not_eased() -> None:
    assert asked(10.0, SNR, "int8") == tolerance("onnx", "int8", metric=SNR).db


def test_the_least_is_what_float32_keeps_of_a_sampler_with_the_largest_sigma() -> None:
    rounding, sigma = -20 * math.log10(2.0**-24), 20 * math.log10(700)
    assert LEAST_DB[SNR] == pytest.approx(rounding - sigma, abs=0.05)


def test_the_least_of_frames_is_that_noise_in_bytes() -> None:
    """Rounded again and compared: an independent way to the same number."""
    rng = np.random.default_rng(0)
    frames = rng.random(1_000_000)
    noisy = frames + rng.standard_normal(frames.size) * 10 ** (-LEAST_DB[SNR] / 20)
    e, f = ((255 * one + 0.5).astype(np.int64) for one in (frames, noisy))
    assert LEAST_DB[PSNR] == pytest.approx(10 * math.log10(255**2 / np.mean((e - f) ** 2)), abs=0.5)


@pytest.mark.parametrize("metric", [PSNR, SNR])
def test_the_least_is_above_what_any_narrower_arithmetic_reaches(metric: str) -> None:
    others = [max(row) for (name, kind), row in FLOORS.items() if kind == metric and name != "fp32"]
    assert max(others) + 2 < LEAST_DB[metric] < allowed("fp32", metric).db


def test_a_bundle_cannot_ask_for_as_little_as_it_likes() -> None:
    eased = {name: allowed(name, SNR).db - EASED_DB for name in ("fp16", "bf16", "int8")}
    for precision, least in (eased | {"fp32": LEAST_DB[SNR]}).items():
        found = tolerance("onnx", precision, metric=SNR, recorded_db=-200.0)
        assert found.db == pytest.approx(least) and "as asked at the export" in found.reason


def test_what_was_asked_of_a_shallow_program_is_asked_again() -> None:
    shallow = allowed("int8", PSNR, DEPTHS[0]).db
    assert shallow > tolerance("onnx", "int8").db
    assert tolerance("onnx", "int8", recorded_db=shallow).db == shallow


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
