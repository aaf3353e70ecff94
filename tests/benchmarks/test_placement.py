from dataclasses import replace
from typing import Any

import pytest

from minuet.benchmarks.placement import fallen, lines, off_unit, reason, timed, units
from minuet.contracts.report import Operator, Run
from tests.benchmarks.conftest import MakeRun


def ran(name: str, ms: float, unit: str, kind: str = "Conv", **more: Any) -> Operator:
    return Operator(name=name, kind=kind, unit=unit, p50_ms=ms, **more)


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return make_run(
        operators=(
            ran("conv", 60.0, "NeuralEngine"),
            ran("warp", 30.0, "CPUExecutionProvider", kind="GridSample"),
            ran("warp_1", 5.0, "CPUExecutionProvider", kind="GridSample"),
            ran("add", 5.0, "GPU", kind="Add"),
        )
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("NeuralEngine", 0.4), ("[NG]*", 0.35), ("*", 0.0), ("TPU", 1.0), ("cpu*", 1.0)],
)
def test_the_share_off_a_unit_is_of_the_operators_time(
    run: Run, pattern: str, expected: float
) -> None:
    assert off_unit(run, pattern) == pytest.approx(expected)


def test_nothing_is_said_where_nobody_told(make_run: MakeRun) -> None:
    run = make_run(unplaced="no profiler")
    assert off_unit(run, "*") is None
    assert list(lines(run)) == ["placement is not known: no profiler"]


def test_a_share_without_times_is_of_the_work(make_run: MakeRun) -> None:
    """8 bytes are one element read and written, and count as one multiply-accumulate."""
    run = make_run(
        operators=(
            ran("conv", 0.0, "XnnpackBackend", macs=900.0, moved_bytes=1e6),
            ran("norm", 0.0, "portable", kind="native_layer_norm", macs=0.0, moved_bytes=800.0),
        )
    )
    assert not timed(run) and off_unit(run, "XnnpackBackend") == pytest.approx(0.1)
    assert "of the work; not timed" in next(iter(lines(run)))


def test_what_fell_off_is_told_by_kind_with_its_worst_and_why(run: Run) -> None:
    assert [(unit.name, unit.operators, unit.share) for unit in units(run)] == [
        ("NeuralEngine", 1, 0.6),
        ("CPUExecutionProvider", 2, 0.35),
        ("GPU", 1, 0.05),
    ]
    worst, other = fallen(run, "NeuralEngine")
    assert (worst.kind, worst.operators, worst.ms, worst.example) == ("GridSample", 2, 35.0, "warp")
    assert "left it to the CPU" in worst.why and other.unit == "GPU"
    told = "\n".join(lines(run))
    assert "off NeuralEngine: GridSample x2, 35.0%, e.g. warp: the provider" in told
    assert "off CPU*: Conv x1, 60.0%" in "\n".join(lines(run, "CPU*"))


def test_one_more_operator_that_falls_off_is_seen(run: Run) -> None:
    """The fault that a gate is for: the same program, one operator elsewhere."""
    before = off_unit(run, "NeuralEngine")
    first, *rest = run.operators
    planted = replace(run, operators=(replace(first, unit="CPU"), *rest))
    after = off_unit(planted, "NeuralEngine")
    assert before is not None and after is not None and after - before == pytest.approx(0.6)


def test_a_unit_whose_name_says_nothing_has_no_reason() -> None:
    assert reason("XnnpackBackend") == "" and "reference kernel" in reason("CPU ref")
