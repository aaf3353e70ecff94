"""A report: there and back with every sample; damaged or from the future, it is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from minuet.contracts.errors import DamagedError
from minuet.contracts.report import SCHEMA, Machine, Report, Run

RUN = Run(
    artifact="onnx-fp32",
    artifact_sha256="0" * 64,
    runtime="ort",
    runtime_version="onnxruntime 1.2",
    threads=2,
    samples_ms={"load": (80.0,), "total": (3.25, 1 / 3, 3.5)},
    peak_rss_mib=123.5,
    bytes_on_disk=1000,
    steps=2,
    nfe=4,
    macs=None,
)
REPORT = Report(
    bundle="minuet",
    machine=Machine(
        cpu="x", cores=2, memory_mib=4096, os="y", python="3.11", versions={"numpy": "2"}
    ),
    runs=(RUN,),
    clock_resolution_ns=1.0,
    minuet="0.1.0",
    seed=7,
)


def as_read() -> Any:
    return json.loads(json.dumps(REPORT.to_json()))


def test_a_report_comes_back_from_json_with_every_sample_in_order() -> None:
    found = Report.from_json(as_read(), "here")
    assert found == REPORT
    assert found.runs[0].samples_ms["total"] == (3.25, 1 / 3, 3.5)


def test_a_newer_schema_is_refused() -> None:
    with pytest.raises(DamagedError, match=rf"here: .*newer minuet \(schema {SCHEMA + 1}\); upg"):
        Report.from_json(as_read() | {"schema": SCHEMA + 1}, "here")


@pytest.mark.parametrize("value", [None, [], "report"])
def test_what_is_no_mapping_is_no_report(value: Any) -> None:
    with pytest.raises(DamagedError, match="here: not a minuet report"):
        Report.from_json(value, "here")


HURTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no runs": (lambda r: r.pop("runs"), "it lacks runs"),
    "no machine's cores": (lambda r: r["machine"].pop("cores"), "machine lacks cores"),
    "a time below 0": (
        lambda r: r["runs"][0]["samples_ms"].update(total=[3.5, -1.0]),
        "runs[0]: samples_ms.total holds a time below 0",
    ),
    "no samples": (lambda r: r["runs"][0].pop("samples_ms"), "runs[0] lacks samples_ms"),
    "runs that are words": (lambda r: r.update(runs=["fast"]), "runs[0] is 'fast', not a mapping"),
    "samples that are a list": (
        lambda r: r["runs"][0].update(samples_ms=[1.0]),
        "runs[0].samples_ms is a list, not a mapping",
    ),
    "a sample that is no list": (
        lambda r: r["runs"][0]["samples_ms"].update(total=3.5),
        "runs[0].samples_ms.total is 3.5, not a list",
    ),
    "a sample that is a word": (
        lambda r: r["runs"][0]["samples_ms"].update(total=[3.5, "4"]),
        "runs[0].samples_ms.total[1] is '4', not a number",
    ),
    "a sample that is no number": (
        lambda r: r["runs"][0]["samples_ms"].update(total=[float("nan")]),
        "runs[0].samples_ms.total[0] is nan, not a number",
    ),
    "a memory without end": (
        lambda r: r["runs"][0].update(peak_rss_mib=float("inf")),
        "runs[0].peak_rss_mib is inf, not a number",
    ),
    "a number without end": (
        lambda r: r["runs"][0].update(macs=10**400),
        "runs[0].macs is 10000",
    ),
    "half a thread": (
        lambda r: r["runs"][0].update(threads=1.5),
        "runs[0].threads is 1.5, not a whole number",
    ),
    "a truth value for a number": (
        lambda r: r["runs"][0].update(steps=True),
        "runs[0].steps is True, not a whole number",
    ),
    "a number for a name": (lambda r: r.update(bundle=7), "bundle is 7, not text"),
    "a version that is a number": (
        lambda r: r["machine"]["versions"].update(numpy=2),
        "machine.versions.numpy is 2, not text",
    ),
    "a sample that is a bottomless list": (
        lambda r: r["runs"][0]["samples_ms"].update(total=[nested(900)]),
        "runs[0].samples_ms.total[0] is a list, not a number",
    ),
    "a machine with wheels": (
        lambda r: r["machine"].update(wheels=4),
        "machine has an unknown field 'wheels'",
    ),
    "no schema": (lambda r: r.update(schema=None), "schema is None, not a whole number"),
    "a schema before the first": (lambda r: r.update(schema=0), "schema 0"),
    "a schema left out": (lambda r: r.pop("schema"), "schema is None"),
}


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("hurt", HURTS)
def test_a_damaged_report_is_refused_by_the_name_of_the_field(hurt: str) -> None:
    change, said = HURTS[hurt]
    value = as_read()
    change(value)
    with pytest.raises(DamagedError) as caught:
        Report.from_json(json.loads(json.dumps(value)), "here")
    assert str(caught.value).startswith(f"here: damaged report: {said}")
    assert str(caught.value).endswith("; measure again.")


def test_what_has_a_default_may_be_left_out() -> None:
    value = as_read()
    del value["size"], value["machine"]["versions"], value["runs"][0]["refusal"]
    found = Report.from_json(value, "here")
    assert (found.size, found.machine.versions, found.runs[0].refusal) == (0, {}, "")


def test_a_whole_number_is_a_number_too() -> None:
    value = as_read()
    value["runs"][0]["samples_ms"]["total"] = [3, 4.5]
    assert Report.from_json(value, "here").runs[0].samples_ms["total"] == (3, 4.5)
