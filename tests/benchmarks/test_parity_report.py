"""One table tells of every backend, whatever was and was not run."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minuet.benchmarks.parity import difference
from minuet.benchmarks.parity_report import (
    FAIL,
    NOT_RUN,
    PASS,
    Cell,
    Column,
    ParityReport,
    html_table,
    notes,
    side_by_side,
    text,
)
from minuet.benchmarks.parity_trajectory import FINAL, STEP, Finding
from minuet.contracts.artifact import Parity
from minuet.contracts.errors import DamagedError, ParityError

ORT = Column(target="onnx", precision="fp32", runtime="ort", version="onnxruntime 1")
MIL = Column(target="coreml", precision="fp16", runtime="mil", divergence="It differs in <b>")
RTX = Column(target="tensorrt", precision="fp16", runtime="tensorrt", refusal="no NVIDIA GPU")


def finding(scope: str, error: float, step: int = 0) -> Finding:
    expected = np.ones(10)
    one = difference(expected, expected + error)
    name = "" if scope == FINAL else "unet"
    return Finding(scope=scope, component=name, step=step, output="y", found=one, depth=8)


@pytest.fixture
def report() -> ParityReport:
    return side_by_side(
        "a <sampler>",
        "eager in float64",
        {
            ORT: [finding(FINAL, 1e-7), finding(STEP, 1e-7)],
            MIL: [finding(STEP, 0.1), finding(FINAL, np.nan)],
            RTX: [],
        },
    )


def test_rows_are_steps_then_the_end_and_columns_are_backends(report: ParityReport) -> None:
    assert [row.name for row in report.rows] == ["step unet y", "final y"]
    assert report.columns[0].name == "onnx-fp32 on ort"
    verdicts = [[row.cells[c.name].verdict for c in report.columns] for row in report.rows]
    assert verdicts == [[PASS, FAIL, NOT_RUN]] * 2


def test_what_was_not_run_says_why(report: ParityReport) -> None:
    cell = report.rows[0].cells[RTX.name]
    assert (cell.verdict, cell.reason) == (NOT_RUN, "no NVIDIA GPU")
    assert "not run: tensorrt-fp16 on tensorrt: no NVIDIA GPU" in text(report)


def test_one_failure_fails_the_report_and_names_the_place(report: ParityReport) -> None:
    with pytest.raises(ParityError, match=r"coreml-fp16 on mil.*step unet y.*2 failed.*It differs"):
        report.insist()
    side_by_side("good", "itself", {ORT: [finding(FINAL, 0)]}).insist()


def test_it_comes_back_from_json_as_it_was(report: ParityReport) -> None:
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert ParityReport.from_json(value, "x") == report


@pytest.mark.parametrize("value", [None, [], {}, {"schema": 99}, {"schema": 1, "rows": 3}])
def test_what_is_no_report_is_refused(value: object) -> None:
    with pytest.raises(DamagedError, match="not a parity report"):
        ParityReport.from_json(value, "x")


def test_plain_text_lines_up(report: ParityReport) -> None:
    lines = text(report).splitlines()
    assert lines[0] == "a <sampler> against eager in float64" and RTX.name not in lines[1]
    assert len({line.index("✓") for line in lines[2:4]}) == 1
    assert any(line.startswith("fail: coreml-fp16 on mil, final y: ") for line in lines)


def test_a_cell_says_what_was_found_and_what_was_needed(report: ParityReport) -> None:
    good, bad, absent = (report.rows[0].cells[column.name] for column in report.columns)
    assert str(good).startswith("✓ 1") and str(good).endswith(f"≥ {good.needed_db:.1f}")
    assert str(bad) == f"✗ 20.0 < {bad.needed_db:.1f}" and str(absent) == "-"


def test_a_second_opinion_that_disagrees_is_told_and_fails_nothing() -> None:
    second = Column(target="onnx", precision="fp32", runtime="openvino", second=True)
    rows = [finding(FINAL, 0.1), finding(STEP, 0.1), finding(STEP, 0.1, step=1)]
    found = side_by_side("a sampler", "itself", {ORT: [finding(FINAL, 0)], second: rows})
    assert not found.failures
    told = [note for note in notes(found) if note.startswith("unfit: onnx-fp32 on openvino, ")]
    assert len(told) == 2 and "(and 1 more)" in told[0]


def test_a_verdict_that_was_reached_already_is_kept() -> None:
    reached = Parity(verdict="pass", value=97.3, tolerance=91.3, reason="by its own noise")
    row = replace(finding(FINAL, 1e-5), parity=reached)
    (cell,) = side_by_side("a", "b", {ORT: [row]}).rows[0].cells.values()
    assert (cell.verdict, cell.db, cell.needed_db) == (PASS, 97.3, 91.3)
    assert "91.3 dB needed: by its own noise" in cell.reason


def test_html_is_escaped_and_names_every_verdict(report: ParityReport) -> None:
    page = html_table(report)
    assert "&lt;b&gt;" in page and "<b>" not in page
    assert page.count('<td class="fail"') == page.count('<td class="pass"') == 2
    assert page.count('<td class="soft"') == 2


def test_a_verdict_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="verdict"):
        Cell(verdict="maybe")
