import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.contracts.files import write_json
from minuet.contracts.report import Machine, Report, Run


def report(seed: int, middle: float, cpu: str = "Example 9000") -> Report:
    rng = np.random.default_rng(seed)
    samples = tuple((middle * np.exp(0.02 * rng.gamma(2.0, 1.0, 120))).tolist())
    machine = Machine(cpu=cpu, cores=2, memory_mib=8192, os="Linux 6.1", python="3.11.4")
    run = Run(
        artifact="onnx-fp32",
        artifact_sha256="a",
        runtime="ort",
        runtime_version="1",
        threads=2,
        samples_ms={"total": samples},
        peak_rss_mib=200.0,
        bytes_on_disk=1000,
        steps=2,
        nfe=2,
        macs=None,
    )
    return Report(
        bundle="b", machine=machine, runs=(run,), clock_resolution_ns=40.0, minuet="0", seed=0
    )


@pytest.fixture
def budget(tmp_path: Path) -> Path:
    path = tmp_path / "budget.toml"
    path.write_text(
        'schema = 1\nname = "b"\n[[limits]]\nmetric = "total.p50"\nunit = "ms"\nat_most = 130\n'
    )
    return path


def save(path: Path, value: Report) -> Path:
    write_json(path / "report.json", value.to_json())
    return path


def gate(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["gate", *(str(argument) for argument in arguments)])


def test_a_slower_build_fails_against_its_baseline_and_not_alone(
    budget: Path, tmp_path: Path
) -> None:
    new, old = save(tmp_path / "new", report(1, 110)), save(tmp_path / "old", report(2, 100))
    assert gate(new, "--budget", budget).exit_code == 0
    done = gate(new, "--budget", budget, "--baseline", old)
    assert done.exit_code == 1 and "total.p50 over baseline" in done.output
    assert gate(old, "--budget", budget, "--baseline", new).exit_code == 0


def test_a_strangers_baseline_is_refused_unless_asked_for(budget: Path, tmp_path: Path) -> None:
    ours = save(tmp_path / "ours", report(1, 100))
    theirs = save(tmp_path / "theirs", report(2, 100, cpu="Fast 1"))
    done = gate(ours, "--budget", budget, "--baseline", theirs)
    assert done.exit_code == 2 and "another machine" in done.output
    asked = gate(ours, "--budget", budget, "--baseline", theirs, "--allow-strangers")
    assert asked.exit_code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as JSON"),
        ("[]", "not a minuet report"),
        ('{"schema": 99}', "newer minuet"),
        ('{"schema": 1, "runs": 3}', "damaged report"),
        ("[" * 100_000, "not readable as JSON"),
    ],
)
def test_a_damaged_report_is_one_message(
    budget: Path, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    done = gate(path, "--budget", budget)
    assert done.exit_code == 2 and message in done.output


def test_samples_that_are_no_numbers_are_refused_by_name(budget: Path, tmp_path: Path) -> None:
    good = report(1, 100)
    run = replace(good.runs[0], samples_ms={"total": (1.0, 2.0)})
    value = replace(good, runs=(run,)).to_json()
    path = tmp_path / "report.json"
    path.write_text(json.dumps(value).replace("[1.0, 2.0]", "[NaN, 1e999]"))
    done = gate(path, "--budget", budget)
    assert done.exit_code == 2 and "samples_ms" in done.output
