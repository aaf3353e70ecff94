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


HURTS: dict[str, Callable[[Any], Any]] = {
    "no runs": lambda r: r.pop("runs"),
    "runs that are words": lambda r: r.update(runs=["fast"]),
    "samples that are a list": lambda r: r["runs"][0].update(samples_ms=[1.0]),
    "a sample that is no list": lambda r: r["runs"][0]["samples_ms"].update(total=3.5),
    "a machine with wheels": lambda r: r["machine"].update(wheels=4),
    "no schema": lambda r: r.update(schema=None),
}


@pytest.mark.parametrize("hurt", HURTS)
def test_a_damaged_report_is_refused(hurt: str) -> None:
    value = as_read()
    HURTS[hurt](value)
    with pytest.raises(DamagedError, match=r"here: damaged report .* measure again"):
        Report.from_json(value, "here")
