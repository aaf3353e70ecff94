"""One table tells of every backend, whatever was and was not run."""

import json

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
    side_by_side,
    text,
)
from minuet.benchmarks.parity_trajectory import FINAL, STEP, Finding
from minuet.contracts.errors import DamagedError, ParityError

ORT = Column(target="onnx", precision="fp32", runtime="ort", version="onnxruntime 1")
MIL = Column(target="coreml", precision="fp16", runtime="mil", divergence="first differs in <b>")
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
    assert [row.name for row in report.rows] == ["unet y, call 0, step", "final y"]
    assert report.columns[0].name == "onnx-fp32 on ort"
    verdicts = [[row.cells[c.name].verdict for c in report.columns] for row in report.rows]
    assert verdicts == [[PASS, FAIL, NOT_RUN]] * 2


def test_what_was_not_run_says_why(report: ParityReport) -> None:
    cell = report.rows[0].cells[RTX.name]
    assert (cell.verdict, cell.reason) == (NOT_RUN, "no NVIDIA GPU")
    assert "not run: tensorrt-fp16 on tensorrt: no NVIDIA GPU" in text(report)


def test_one_failure_fails_the_report_and_names_the_place(report: ParityReport) -> None:
    with pytest.raises(
        ParityError, match=r"coreml-fp16 on mil.*unet y, call 0.*2 failed.*It first"
    ):
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
    assert lines[0] == "a <sampler> against eager in float64, dB"
    assert len({line.index("✓") for line in lines[2:4]}) == 1
    assert any(line.startswith("fail: coreml-fp16 on mil, final y: ") for line in lines)


def test_html_is_escaped_and_names_every_verdict(report: ParityReport) -> None:
    page = html_table(report)
    assert "&lt;b&gt;" in page and "<b>" not in page
    assert page.count('<td class="fail"') == page.count('<td class="pass"') == 2
    assert page.count('<td class="soft"') == 2


def test_a_verdict_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="verdict"):
        Cell(verdict="maybe")
