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
    notes,
    side_by_side,
    table,
)
from minuet.benchmarks.parity_trajectory import FINAL, STEP, Finding
from minuet.contracts.artifact import Parity

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
    assert "not run: tensorrt-fp16 on tensorrt: no NVIDIA GPU" in notes(report)


def test_what_was_only_partly_run_says_what_was_not() -> None:
    partly = replace(ORT, missed="unet: no kernel for it")
    found = side_by_side("a", "b", {partly: [finding(FINAL, 0)]})
    assert notes(found) == ["not run: onnx-fp32 on ort: unet: no kernel for it"]


def test_two_findings_for_one_place_are_never_one() -> None:
    with pytest.raises(ValueError, match="was found twice"):
        side_by_side("a", "b", {ORT: [finding(STEP, 0.1), finding(STEP, 0)]})


def test_a_failure_names_its_place_and_its_column(report: ParityReport) -> None:
    told = [(row.name, column.name) for row, column, _ in report.failures]
    assert told == [("step unet y", MIL.name), ("final y", MIL.name)]
    assert any(one.startswith("fail: coreml-fp16 on mil, final y: ") for one in notes(report))
    assert f"{MIL.name}: {MIL.divergence}" in notes(report)


def test_it_is_plain_json(report: ParityReport) -> None:
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value["rows"][0]["cells"][ORT.name]["verdict"] == PASS


def test_the_table_has_a_column_for_each_backend_that_was_run(report: ParityReport) -> None:
    heads, rows = table(report)
    assert heads == ["dB", "onnx-fp32\non ort", "coreml-fp16\non mil"]
    assert [row[0] for row in rows] == ["step unet y", "final y"]


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


def test_a_verdict_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="verdict"):
        Cell(verdict="maybe")
