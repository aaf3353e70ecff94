import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.benchmarks.selftest import FIVE, OLD, SAME, TEN
from minuet.contracts.files import write_json
from minuet.contracts.report import Machine, Report, Run
from tests.benchmarks.noise import in_turns


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
        ("[]", "no samples"),
        ("3", "not a minuet report"),
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


def test_without_anything_to_judge_by_it_says_what_to_give(tmp_path: Path) -> None:
    done = gate(save(tmp_path / "new", report(1, 110)))
    assert done.exit_code == 2 and "--budget" in done.output and "--baseline" in done.output
    done = gate()
    assert done.exit_code == 2 and "name a report" in done.output


def test_a_baseline_alone_is_enough(tmp_path: Path) -> None:
    new, old = save(tmp_path / "new", report(1, 110)), save(tmp_path / "old", report(2, 100))
    assert gate(new, "--baseline", old).exit_code == 1
    assert gate(old, "--baseline", new).exit_code == 0


def test_both_sides_of_one_report_need_no_budget(tmp_path: Path) -> None:
    new, old = report(1, 110), report(2, 100)
    base = replace(old.runs[0], side="base")
    both = save(tmp_path / "both", replace(new, runs=(*new.runs, base)))
    done = gate(both, "--json")
    value = json.loads(done.stdout)
    assert done.exit_code == 1 and value["verdict"] == "fail"
    (verdict,) = value["verdicts"]
    assert verdict["metric"] == "total.p50 over baseline" and verdict["low"] > 1


def test_samples_of_another_tool_are_gated(budget: Path, tmp_path: Path) -> None:
    path = tmp_path / "decode.csv"
    path.write_text("decode\n" + "\n".join(str(100 + at % 7) for at in range(80)))
    assert gate(path, "--budget", budget, "--unit", "ms").exit_code == 0
    assert gate(path, "--budget", budget, "--unit", "s").exit_code == 1
    done = gate(path, "--budget", budget)
    assert done.exit_code == 2 and "--unit ms" in done.output


def test_history_is_told_with_the_verdict_and_changes_none(budget: Path, tmp_path: Path) -> None:
    for day in range(1, 21):
        one = replace(report(day, 100 if day < 13 else 120), measured_at=f"2026-01-{day:02}")
        save(tmp_path / "all" / f"{day:02}", one)
    newest = save(tmp_path / "new", replace(report(21, 120), measured_at="2026-01-21"))
    done = gate(newest, "--budget", budget, "--history", tmp_path / "all", "--json")
    value = json.loads(done.stdout)
    assert done.exit_code == 0 and value["history"]["reports"] == 21
    (change,) = value["history"]["courses"][0]["changes"]
    assert change["time"].startswith("2026-01-13")
    assert change["ratio"]["low"] < 1.2 < change["ratio"]["high"]
    told = gate(newest, "--history", tmp_path / "all")
    assert told.exit_code == 0 and "2026-01-13" in told.output and "verdict: none" in told.output


def test_the_verdict_is_written_for_every_reader(budget: Path, tmp_path: Path) -> None:
    new, old = save(tmp_path / "new", report(1, 110)), save(tmp_path / "old", report(2, 100))
    wanted = ("--budget", budget, "--baseline", old, "--github")
    files = ("--junit", tmp_path / "gate.xml", "--markdown", tmp_path / "gate.md")
    done = gate(new, *wanted, *files)
    assert done.exit_code == 1 and "::error" in done.stdout
    assert 'failures="1"' in (tmp_path / "gate.xml").read_text()
    assert "total.p50 over baseline" in (tmp_path / "gate.md").read_text()
    quiet = gate(new, *wanted, "--json")
    assert json.loads(quiet.stdout)["verdict"] == "fail" and "::error" in quiet.stderr


def test_names_in_a_report_cannot_write_to_the_terminal(budget: Path, tmp_path: Path) -> None:
    hostile = replace(report(1, 100).runs[0], artifact="a\x1b[2J\n::error::b")
    path = save(tmp_path / "r", replace(report(1, 100), runs=(hostile,)))
    done = gate(path, "--budget", budget)
    assert "\x1b" not in done.output and "\n::error" not in done.output


def test_limits_on_proofs_read_the_bundle(tmp_path: Path) -> None:
    from minuet.benchmarks.subject import artifact_hash
    from minuet.commands.gate import read_manifest
    from minuet.shipped import folder

    manifest = read_manifest(folder() / "bundle")
    artifact = manifest.artifacts[0]
    run = replace(
        report(1, 100).runs[0], artifact=artifact.name, artifact_sha256=artifact_hash(artifact)
    )
    new = save(tmp_path / "r", replace(report(1, 100), runs=(run,)))
    budget = tmp_path / "proof.toml"
    text = 'schema = 1\nname = "b"\n[[limits]]\nmetric = "parity.db"\nat_least = '
    for at_least, code in ((10, 0), (200, 1)):
        budget.write_text(text + str(at_least))
        assert gate(new, "--budget", budget, "--bundle", folder() / "bundle").exit_code == code
    assert gate(new, "--budget", budget).exit_code == 3


def test_the_self_test_says_what_it_got_and_whether_that_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for factors, code in (((1.0, 1.0, 1.05, 1.1), 0), ((1.0, 1.1, 1.05, 1.1), 3)):
        samples = in_turns(np.random.default_rng(0), 400, factors, shared=0.02, own=0.02)
        record = dict(zip((OLD, SAME, FIVE, TEN), samples, strict=True))
        monkeypatch.setattr("minuet.planted.record", lambda *_, made=record: made)
        done = gate("--self-test", "--seconds", 20, "--runs", 8, "--json")
        value = json.loads(done.stdout)
        assert (done.exit_code, value["kept"]) == (code, not code)
        assert value["results"][0]["scenario"]["name"] == "the same twice"
        assert all(sum(row["outcomes"].values()) == 8 for row in value["results"])
    assert "does not keep its promises" in done.stderr and "the same twice" in done.stderr
