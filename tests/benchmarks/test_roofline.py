import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minuet.benchmarks.roofline import (
    COMPUTE,
    MEMORY,
    NOTHING,
    UNKNOWN,
    heaviest,
    lines,
    main,
    roof_ms,
    rows,
    stages,
)
from minuet.contracts.report import Operator, Peaks, Run
from tests.benchmarks.conftest import MakeReport, MakeRun

# 100 GFLOP/s and 10 GB/s: the ridge is at 10 FLOP a byte.
PEAKS = Peaks(threads=2, gflops={"fp32": 100.0, "int8": 400.0}, read_gbs=10.0)


def ran(name: str, ms: float, macs: float | None, moved: float | None, **more: Any) -> Operator:
    words = {"kind": "Conv", "unit": "CPU", "stage": "denoise", "dtype": "fp32"} | more
    return Operator(name=name, p50_ms=ms, macs=macs, moved_bytes=moved, **words)


DENSE = ran("dense", 40.0, 1e9, 1e7)  # 200 FLOP a byte; 20 ms of arithmetic, 1 ms of reading
WIDE = ran("wide", 5.0, 1e6, 4e7)  # 0.05 FLOP a byte; 0.02 ms, 4 ms
COPY = ran("copy", 4.0, 0.0, 2e7, kind="Concat", stage="compose")  # 2 ms of reading
VIEW = ran("view", 0.5, 0.0, 0.0, kind="Reshape", stage="compose")
STRANGE = ran("strange", 0.5, None, 1e6, kind="LSTM", stage="other")


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return make_run(operators=(DENSE, WIDE, COPY, VIEW, STRANGE))


def test_each_operator_is_held_against_the_roof_above_it(run: Run) -> None:
    found = {row.op: row for row in rows(run, PEAKS)}
    dense, wide = found["dense"], found["wide"]
    assert (dense.limit, dense.attained, dense.intensity) == (COMPUTE, 0.5, 200.0)
    assert dense.attained_gflops == pytest.approx(50.0) and dense.roof_gflops == 100.0
    assert dense.share_of_time == 0.8
    assert (wide.limit, wide.intensity) == (MEMORY, 0.05) and wide.attained == pytest.approx(0.8)
    assert wide.attained_gflops == pytest.approx(0.4) and wide.attained_gbs == pytest.approx(8.0)
    assert wide.roof_gflops == pytest.approx(0.05 * PEAKS.read_gbs), "the slope of the roof"


def test_an_operator_without_arithmetic_is_held_against_the_memory(run: Run) -> None:
    copy = {row.op: row for row in rows(run, PEAKS)}["copy"]
    assert (copy.limit, copy.intensity) == (MEMORY, 0.0) and copy.attained == pytest.approx(0.5)


def test_what_has_no_work_and_what_nobody_knows_are_two_things(run: Run) -> None:
    found = {row.op: row for row in rows(run, PEAKS)}
    assert (found["view"].limit, found["view"].attained, found["view"].known) == (
        NOTHING,
        None,
        1.0,
    )
    strange = found["strange"]
    assert (strange.limit, strange.attained, strange.known) == (UNKNOWN, None, 0.0)
    told = "\n".join(lines(run, PEAKS))
    assert "1.0% of the time is of operators whose work, or its peak, is not known" in told


def test_a_dtype_whose_peak_was_not_measured_is_not_guessed() -> None:
    assert roof_ms(ran("half", 1.0, 1e6, 1e3, dtype="fp16"), PEAKS) is None
    assert roof_ms(ran("cast", 1.0, 0.0, 1e7, dtype="fp16"), PEAKS) == pytest.approx(1.0)
    assert roof_ms(ran("codes", 1.0, 1e9, 1e3, dtype="int8"), PEAKS) == pytest.approx(5.0)


@pytest.mark.parametrize("unit", ["CUDAExecutionProvider", "NeuralEngine", "GPU"])
def test_what_ran_elsewhere_is_not_held_against_the_processor(unit: str) -> None:
    assert roof_ms(replace(DENSE, unit=unit), PEAKS) is None
    for own in ("CPUExecutionProvider", "CPU ref", "XnnpackBackend", "XNNPACKExecutionProvider"):
        assert roof_ms(replace(DENSE, unit=own), PEAKS) == pytest.approx(20.0)


def test_nothing_is_better_than_the_roof(make_run: MakeRun) -> None:
    """What lies in a cache passes by the memory that was measured."""
    (row,) = rows(make_run(operators=(ran("cached", 0.1, 0.0, 1e7),)), PEAKS)
    assert row.attained == 1.0 and row.attained_gbs == pytest.approx(100.0)


def test_a_stage_attains_what_its_known_operators_do_together(run: Run) -> None:
    found = {row.stage: row for row in stages(run, PEAKS)}
    denoise = found["denoise"]
    assert denoise.attained == pytest.approx((20 + 4) / 45) and denoise.operators == 2
    assert denoise.limit == COMPUTE and denoise.dtype == "fp32"
    assert found["compose"].attained == pytest.approx(2 / 4.5), "a view takes time too"
    assert found["other"].known == 0.0


def test_small_operators_of_a_kind_cost_as_one(make_run: MakeRun) -> None:
    many = [ran(f"mul{at}", 1.0, 0.0, 1e6, kind="Mul") for at in range(30)]
    first, second = heaviest(make_run(operators=(ran("conv", 20.0, 1e9, 1e7), *many)), PEAKS)
    assert (first.kind, first.operators, first.ms) == ("Mul", 30, 30.0)
    assert second.op == "conv"


def test_the_text_names_what_holds_the_costliest_up(run: Run, make_run: MakeRun) -> None:
    told = list(lines(run, PEAKS))
    assert told[0] == "peaks on 2 threads: fp32 100 GFLOP/s, int8 400 GFLOP/s; memory 10.0 GB/s"
    assert told[2].split()[:2] == ["denoise", "Conv"] and told[2].endswith("compute")
    slow = make_run(operators=(ran("warp", 10.0, 0.0, 1e6, kind="GridSample"),))
    assert any(line.endswith("1%  memory, far below") for line in lines(slow, PEAKS))
    assert "not measured" in "".join(lines(run, None))
    assert "no event tracer" in "".join(lines(make_run(unplaced="no event tracer"), PEAKS))
    assert any(
        "the run had 1:" in line for line in lines(make_run(operators=(DENSE,), threads=1), PEAKS)
    )


def test_a_report_is_printed_and_what_is_none_is_refused(
    run: Run, make_report: MakeReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = ran("\x1b[2J", 900.0, 0.0, 1e6)
    report = make_report(replace(run, operators=(hostile, *run.operators)), peaks=PEAKS)
    (tmp_path / "report.json").write_text(json.dumps(report.to_json()), encoding="utf-8")
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "onnx-fp32 on ort" in told and "denoise Conv x3" in told and "100 GFLOP/s" in told
    assert "\x1b" not in told, "a name is no command to the terminal"
    assert main([str(tmp_path / "nothing.json")]) == 2
    assert "missing" in capsys.readouterr().err
    assert main([]) == 2 and "name one report" in capsys.readouterr().err
