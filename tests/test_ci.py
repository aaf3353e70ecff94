"""What CIs are given does what it says: its scripts run here, in bash, as a runner runs them."""

import inspect
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from minuet.contracts.files import write_json
from minuet.contracts.report import Machine, Report, Run
from minuet.pytest_plugin import Latency
from tests.minuet.playable import write_bundle
from tests.runner import Runner, orders, outputs, recorder, said

pytest_plugins = "pytester"

ROOT = Path(__file__).resolve().parent.parent
HOSTILE = (
    "$(touch pwned)",
    "`touch pwned`",
    "x; touch pwned #",
    '"; touch pwned; "',
    "'; touch pwned; '",
    "--help",
    "x\ncode=0\nverdict=pass",
)


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return found


def report(artifact: str = "onnx-fp32") -> Report:
    rng = np.random.default_rng(0)
    run = Run(
        artifact=artifact,
        artifact_sha256="a",
        runtime="ort",
        runtime_version="1",
        threads=2,
        samples_ms={"total": tuple((140 * np.exp(0.02 * rng.gamma(2.0, 1.0, 120))).tolist())},
        peak_rss_mib=200.0,
        bytes_on_disk=1000,
        steps=2,
        nfe=2,
        macs=None,
    )
    machine = Machine(cpu="Example 1", cores=2, memory_mib=8192, os="Linux 6.1", python="3.11.4")
    return Report(
        bundle="b", machine=machine, runs=(run,), clock_resolution_ns=40.0, minuet="0", seed=0
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A checkout with a budget of 120 ms and a report of 140."""
    write_json(tmp_path / "slow" / "report.json", report().to_json())
    (tmp_path / "budget.toml").write_text(
        'schema = 1\nname = "b"\n[[limits]]\nmetric = "total.p50"\nunit = "ms"\nat_most = 120\n'
    )
    return tmp_path


# --- GitHub: what is written ---------------------------------------------------------------------


def test_no_input_reaches_a_script_but_through_its_environment(action: dict[str, Any]) -> None:
    steps = action["runs"]["steps"]
    assert action["runs"]["using"] == "composite" and len(steps) >= 5
    for step in steps:
        assert "${{" not in step.get("run", ""), step["name"]
        assert ("run" in step) == (step.get("shell") == "bash")
        assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])


def test_pins_say_which_version_they_are() -> None:
    pins = re.findall(r"uses: \S+@[0-9a-f]{40}(.*)", (ROOT / "action.yml").read_text())
    assert len(pins) == 2 and all(re.fullmatch(r" # v\d+\.\d+\.\d+", pin) for pin in pins)


def test_every_input_is_used_and_every_used_one_is_there(action: dict[str, Any]) -> None:
    text = yaml.safe_dump(action["runs"])
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(action["inputs"])
    made = dict.fromkeys(step["id"] for step in action["runs"]["steps"] if "id" in step)
    assert set(re.findall(r"steps\.(\w+)\.", text + yaml.safe_dump(action["outputs"]))) == set(made)
    for row in (*action["inputs"].values(), *action["outputs"].values()):
        assert row["description"]


def test_installing_passes_its_words_on_whole(action: dict[str, Any], tmp_path: Path) -> None:
    shim = tmp_path / "bin" / "python"
    shim.parent.mkdir()
    shim.write_text(
        '#!/bin/sh\nprintf "%s\\0" "$@" >> "$RUNNER_TEMP/said"\n'
        'if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi\n'
    )
    shim.chmod(0o755)
    install = next(step for step in action["runs"]["steps"] if step.get("id") == "install")
    for extras, wanted in (("", str(ROOT)), ("a,b", f"{ROOT}[a,b]"), (HOSTILE[0],) * 2):
        (tmp_path / "said").unlink(missing_ok=True)
        subprocess.run(
            ["bash", "-eo", "pipefail", "-c", install["run"]],
            env={
                "PATH": f"{shim.parent}:{os.environ['PATH']}",
                "RUNNER_TEMP": str(tmp_path),
                "GITHUB_ACTION_PATH": str(ROOT),
                "GITHUB_OUTPUT": str(tmp_path / "out"),
                "EXTRAS": extras,
            },
            cwd=tmp_path,
            check=True,
        )
        said = (tmp_path / "said").read_text().split("\0")
        assert wanted in said[-2] and Path(said[said.index("--constraint") + 1]).exists()
    assert outputs((tmp_path / "out").read_text())["python"] == f"{tmp_path}/minuet/bin/python"
    assert not (tmp_path / "pwned").exists()


# --- GitHub: what it does ------------------------------------------------------------------------


def test_a_report_becomes_a_verdict_a_summary_and_annotations(
    action: dict[str, Any], place: Path
) -> None:
    done = Runner(action, place, {"report": "slow", "budget": "budget.toml"}).run()
    assert done.done == ["Judge", "Pass or fail"] and done.code == 1, done.log
    assert done.outputs["judge"] == {"verdict": "fail", "code": "1", "report": "slow"}
    assert done.summary.startswith("## ❌ b: b: fail") and "| --- |" in done.summary
    assert [line.split()[0] for line in orders(done.log)] == ["::error", "::notice"]
    suite = ET.parse(place / "temp" / "minuet-gate.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")


@pytest.mark.parametrize(
    ("code", "verdict", "strict", "ends"),
    [
        (0, "pass", "true", 0),
        (1, "fail", "false", 1),
        (3, "inconclusive", "false", 0),
        (3, "inconclusive", "true", 3),
        (2, "", "false", 2),
        (4, "", "false", 4),
        (0, "pass", "yes", 2),
    ],
)
def test_the_job_ends_as_the_gate_did_but_for_doubts(
    action: dict[str, Any], place: Path, code: int, verdict: str, strict: str, ends: int
) -> None:
    asked = {"report": "r", "fail-on-inconclusive": strict}
    done = Runner(action, place, asked).run(recorder(place, code))
    assert (done.outputs["judge"]["verdict"], done.code) == (verdict, ends)


@pytest.mark.slow
def test_a_bundle_is_measured_in_turns_with_an_older_one(
    action: dict[str, Any], place: Path
) -> None:
    for name in ("bundle", "older"):
        write_bundle(place / name, size=32)
    asked = {"bundle": "bundle", "against": "older", "samples": "10", "threads": "1"}
    done = Runner(action, place, asked).run()
    assert done.done == ["Measure", "Judge", "Pass or fail"], done.log
    assert done.outputs["judge"]["report"] == str(place / "temp" / "minuet-report")
    assert (place / "temp" / "minuet-report" / "report.html").exists()
    assert "total.p50 over baseline" in done.summary


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_input_is_one_word_of_one_command(
    action: dict[str, Any], place: Path, text: str
) -> None:
    told = recorder(place)
    names = [name for name in action["inputs"] if name not in ("report", "fail-on-inconclusive")]
    done = Runner(action, place, dict.fromkeys(names, text)).run(told)
    assert done.done == ["Measure", "Judge", "Pass or fail"] and done.code == 0, done.log
    bench, gate = said(place)
    assert {"--runtimes", "--samples", "--seconds", "--threads", "--against"} < dict(bench).keys()
    assert {value for name, value in bench if name != "--out"} == {text}
    assert dict(gate)["--budget"] == dict(gate)["--baseline"] == text
    done = Runner(action, place, {"report": text, "budget": "b"}).run(told)
    assert said(place)[-1][-1] == ("--", text) and done.outputs["judge"]["report"] == text
    assert done.outputs["judge"]["code"] == "0" and not list(place.rglob("pwned"))


def test_a_hostile_report_gives_the_runner_no_orders(action: dict[str, Any], place: Path) -> None:
    name = "x\n::add-mask::ms\n::error::owned\n::stop-commands::never\n<b>|y"
    write_json(place / "bad" / "report.json", report(name).to_json())
    done = Runner(action, place, {"report": "bad", "budget": "budget.toml"}).run()
    assert done.code == 1
    assert {line.split()[0] for line in orders(done.log)} == {"::error", "::notice"}
    assert "<b>" not in done.summary and len(done.summary.splitlines()) == 7


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"budget": "budget.toml"}, "give a bundle or a report"),
        ({"report": "nowhere", "budget": "budget.toml"}, "nowhere"),
    ],
)
def test_a_wrong_request_fails_as_one(
    action: dict[str, Any], place: Path, asked: dict[str, str], told: str
) -> None:
    done = Runner(action, place, asked).run()
    assert done.code == 2 and told in done.log and not done.summary


# --- GitLab --------------------------------------------------------------------------------------


def gitlab(
    place: Path, program: Path | str = sys.executable, /, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """The job's script with its own defaults; what installs is left out, a link is in its place."""
    job = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text(encoding="utf-8"))[".minuet-gate"]
    python = place / ".minuet-venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
    python.chmod(0o755)
    return subprocess.run(
        ["sh", "-ec", "\n".join(job["script"])],
        cwd=place,
        env={**os.environ, **job["variables"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_gitlab_gets_a_code_and_a_junit_report(place: Path) -> None:
    done = gitlab(place, MINUET_REPORT="slow", MINUET_BUDGET="budget.toml")
    assert done.returncode == 1, done.stderr
    suite = ET.parse(place / "minuet-gate.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert (place / "minuet-gate.md").exists()


def test_gitlab_hears_of_doubts(place: Path) -> None:
    (place / "temp").mkdir()
    assert gitlab(place, recorder(place, 3), MINUET_REPORT="r").returncode == 3


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_variable_is_one_word_of_one_command(place: Path, text: str) -> None:
    (place / "temp").mkdir()
    names = ("BUNDLE", "AGAINST", "REPORT", "BUDGET", "BASELINE", "RUNTIMES", "SAMPLES")
    variables = {f"MINUET_{name}": text for name in names}
    assert gitlab(place, recorder(place), **variables).returncode == 0
    bench, gate = said(place)
    asked = ("--out", "--runtimes", "--against", "--")
    assert {dict(bench)[name] for name in asked} == {text}
    assert dict(gate)["--budget"] == dict(gate)["--baseline"] == dict(gate)["--"] == text
    assert not list(place.rglob("pwned"))


def test_gitlab_keeps_what_its_script_writes() -> None:
    job = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text(encoding="utf-8"))[".minuet-gate"]
    script = "\n".join(job["script"])
    assert job["allow_failure"] == {"exit_codes": 3} and job["artifacts"]["when"] == "always"
    assert f"--junit={job['artifacts']['reports']['junit']}" in script
    used = set(re.findall(r"\$\{?(MINUET_\w+)", script + "\n".join(job["before_script"])))
    assert used == set(job["variables"])


# --- the guide -----------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def first_column(head: str) -> set[str]:
    """The words in the first column of the guide's table of that head."""
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    rows = text.partition(f"| {head} | ")[2].partition("\n\n")[0].splitlines()[2:]
    return {word for row in rows for word in re.findall(r"`([\w-]+)", row.split("|")[1])}


def test_the_guides_workflow_is_one_that_the_action_takes(action: dict[str, Any]) -> None:
    job = yaml.safe_load(blocks("yaml")[0])["jobs"]["latency"]
    asked = job["steps"][-1]["with"]
    assert "bundle" in asked and set(asked) <= set(action["inputs"])
    assert first_column("input") == set(action["inputs"])


def test_the_guides_pipeline_is_one_that_the_template_takes() -> None:
    template = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text(encoding="utf-8"))
    job = yaml.safe_load(blocks("yaml")[1])["latency"]
    assert set(job["variables"]) <= set(template[job["extends"]]["variables"])


# A run takes 5 ms by a clock that nothing else moves, however busy this machine is.
CLOCK = """
import onnxruntime
import pytest

class Clock:
    ns = 0
    def __call__(self):
        self.ns += 10
        return self.ns

@pytest.fixture
def minuet_clock(monkeypatch):
    clock, run = Clock(), onnxruntime.InferenceSession.run
    def spend(*arguments):
        clock.ns += 5_000_000
        return run(*arguments)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", spend)
    return clock
"""


def test_the_guides_tests_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx import TensorProto, helper, save

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4, 64, 64))
        for name in ("latent", "picture")
    ]
    node = helper.make_node("Sin", ["latent"], ["picture"])
    graph = helper.make_graph([node], "decoder", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    for name in ("decoder", "decoder-int8"):
        save(model, pytester.path / f"{name}.onnx")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest(CLOCK)
    pytester.makepyfile(blocks("python")[0])
    done = pytester.runpytest_subprocess("-p", "minuet.pytest_plugin")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["pass: *budget on python: total.p50 5 ms*", "pass: *1 x (1 to 1)*"])


def test_the_guides_tables_are_the_fixtures() -> None:
    known = set(inspect.signature(Latency.__call__).parameters) - {"self", "call"}
    assert first_column("argument") == known
    source = (ROOT / "minuet" / "pytest_plugin.py").read_text(encoding="utf-8")
    assert first_column("option") == set(re.findall(r'"(--minuet-[a-z-]+)"', source))


def test_the_guides_script_lets_only_doubt_through(place: Path) -> None:
    program = place / "bin" / "minuet"
    program.parent.mkdir()
    for code, wanted in ((0, 0), (1, 1), (2, 2), (3, 0)):
        program.write_text(f'#!/bin/sh\n[ "$1" = bench ] || exit {code}\n')
        program.chmod(0o755)
        path = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", blocks("sh")[0]], env=path, check=False)
        assert done.returncode == wanted
