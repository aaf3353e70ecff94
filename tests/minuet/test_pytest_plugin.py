import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.stats  # noqa: F401

# Named here, since pytester forgets what an inner session imports, and numpy does not come twice.
from minuet import latency
from minuet.benchmarks.budget import Budget, Limit
from minuet.benchmarks.gate import gate
from minuet.contracts.errors import RequestError
from minuet.contracts.report import Report

pytest_plugins = "pytester"

ROOT = Path(__file__).resolve().parent.parent.parent
# A clock that only calls move: samples are drawn, not waited for, and the same in every session.
CONFTEST = """
import random
import pytest

class Clock:
    def __init__(self):
        self.ns, self.random = 0, random.Random(1)
    def __call__(self):
        self.ns += 10
        return self.ns
    def call(self, ms, scatter=0.02):
        def spend():
            self.ns += round(1e6 * ms * (1 + scatter * self.random.gammavariate(2, 1)))
        return spend

@pytest.fixture
def minuet_clock():
    return Clock()
"""


@pytest.fixture(autouse=True)
def only_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A repository of somebody else, with a clock that is not the wall's."""
    pytester.makeconftest(CONFTEST)
    return pytester


def run(project: pytest.Pytester, body: str, *options: str) -> pytest.RunResult:
    """Run one test with this body; `lat` is the fixture and `call(ms)` makes a call."""
    project.makepyfile(
        f"""
        def test_it(minuet_latency, minuet_clock):
            lat, call = minuet_latency, minuet_clock.call
            {body}
        """
    )
    return project.runpytest("-p", "minuet.pytest_plugin", "-p", "no:cacheprovider", *options)


# --- verdicts ------------------------------------------------------------------------------------


def test_a_call_within_its_budget_passes_and_is_listed(project: pytest.Pytester) -> None:
    done = run(project, "lat(call(10), at_most_ms=12)")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*= latency =*", "pass: *::test_it on python: total.p50 10.* ms*"])


def test_a_call_over_its_budget_fails_with_its_numbers(project: pytest.Pytester) -> None:
    done = run(project, "lat(call(10), at_most_ms=9)")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            ">*lat(call(10), at_most_ms=9)",
            "E *AssertionError: fail: *total.p50 10.* ms (10.* to 10.*), at most 9 ms",
        ]
    )
    done.stdout.no_fnmatch_line("*pytest_plugin.py*")  # the traceback is the test's, not ours


def test_a_call_slower_than_another_fails_and_an_equal_one_passes(
    project: pytest.Pytester,
) -> None:
    run(project, "lat(call(10), against=call(10))").assert_outcomes(passed=1)
    done = run(project, "lat(call(12), against=call(10))")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["E *total.p50 over baseline 1.[12]*at most 1.03 x*"])


@pytest.mark.parametrize(
    ("wish", "outcome"),
    [((), "skipped"), (("skip",), "skipped"), (("xfail",), "xfailed"), (("fail",), "failed")],
)
def test_a_doubt_ends_as_it_is_wished(
    project: pytest.Pytester, wish: tuple[str, ...], outcome: str
) -> None:
    options = [f"--minuet-inconclusive={one}" for one in wish]
    done = run(project, "lat(call(10, scatter=0.3), at_most_ms=15.2)", "-rsx", *options)
    done.assert_outcomes(**{outcome: 1})
    done.stdout.fnmatch_lines(["*inconclusive: *samples would decide*"])


def test_a_far_quantile_is_decided_without_further_wishes(project: pytest.Pytester) -> None:
    run(project, "lat(call(10), at_most_ms=14, quantile='p99')").assert_outcomes(passed=1)
    done = run(project, "lat(call(10), at_most_ms=14, quantile='p99', samples=50)")
    done.assert_outcomes(skipped=1)


def test_of_calls_too_short_for_the_clock_only_the_middle_is_judged(
    project: pytest.Pytester,
) -> None:
    run(project, "lat(call(0.0005), at_most_ms=0.0006)").assert_outcomes(passed=1)
    run(project, "lat(call(0.0005), at_most_ms=0.0004)").assert_outcomes(failed=1)
    done = run(project, "lat(call(0.0005), at_most_ms=1, quantile='p90')", "-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["*each sample is the mean of *ask for p50*"])


def test_what_a_call_raises_is_the_tests_own_failure(project: pytest.Pytester) -> None:
    done = run(project, "lat(lambda: 1 / 0, at_most_ms=1)")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*lat(lambda: 1 / 0, at_most_ms=1)", "E *ZeroDivisionError*"])
    run(project, "import pytest; lat(lambda: pytest.skip('no'), at_most_ms=1)").assert_outcomes(
        skipped=1
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("", "ask something: give at_most_ms, against or baseline"),
        ("at_most_ms=1, quantile='p42'", "quantile is one of p50, p90, p99, not 'p42'"),
        ("at_most_ms=-1", "at_most is above 0"),
        ("baseline='x', against=call(1)", "exclude each other"),
        ("baseline='../x'", "points outside its folder"),
        ("baseline='x'", "no such baseline; run once with --minuet-update"),
        ("at_most_ms=1, samples=-1", "at least 1"),
    ],
)
def test_a_wish_that_makes_no_sense_is_one_message(
    project: pytest.Pytester, asked: str, told: str
) -> None:
    done = run(project, f"lat(call(1), {asked})")
    done.assert_outcomes(failed=1)
    assert told in done.stdout.str() and "Traceback" not in done.stdout.str()


def test_by_the_wall_clock_slow_never_passes_and_quick_never_fails(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import time
        def quick(): time.sleep(0.001)
        def slow(): time.sleep(0.005)
        def test_slow(minuet_latency): minuet_latency(slow, against=quick)
        def test_quick(minuet_latency): minuet_latency(quick, against=slow)
        """
    )
    done = pytester.runpytest("-p", "minuet.pytest_plugin", "--minuet-seconds=2", "-rA")
    # A crowded machine may leave it open; what it really finds is drawn by the other clock.
    done.stdout.no_re_match_line("PASSED .*::test_slow")
    done.stdout.no_re_match_line("(FAILED|ERROR) .*::test_quick")
    done.stdout.re_match_lines_random([".*::test_slow on python: .*", ".*::test_quick on .*"])


# --- baselines -----------------------------------------------------------------------------------


def test_a_baseline_is_written_kept_and_defended(project: pytest.Pytester) -> None:
    done = run(project, "lat(call(10), baseline='decode')", "--minuet-update")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*::test_it: baseline decode written"])
    stored = project.path / ".minuet-baseline" / "decode.json"
    before = stored.read_bytes()
    run(project, "lat(call(10), baseline='decode')").assert_outcomes(passed=1)
    done = run(project, "lat(call(12), baseline='decode')")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["E *fail: *total.p50 over baseline 1.[12]*"])
    assert stored.read_bytes() == before
    run(project, "lat(call(12), baseline='decode')", "--minuet-update").assert_outcomes(passed=1)
    run(project, "lat(call(12), baseline='decode')").assert_outcomes(passed=1)


def test_a_baseline_of_another_machine_decides_nothing_unless_asked(
    project: pytest.Pytester,
) -> None:
    folder = ("--minuet-baseline", "kept")
    run(project, "lat(call(10), baseline='a/b')", "--minuet-update", *folder)
    stored = project.path / "kept" / "a" / "b.json"
    value = json.loads(stored.read_text())
    value["machine"]["cpu"] = "Example 9000"
    stored.write_text(json.dumps(value))
    done = run(project, "lat(call(12), baseline='a/b')", "-rs", *folder)
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["*measured on another machine (cpu *Example 9000*"])
    done = run(project, "lat(call(12), baseline='a/b')", "--minuet-allow-strangers", *folder)
    done.assert_outcomes(failed=1)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 99}', "[" * 100_000])
def test_a_damaged_baseline_is_one_message(project: pytest.Pytester, text: str) -> None:
    (project.path / ".minuet-baseline").mkdir()
    (project.path / ".minuet-baseline" / "x.json").write_text(text)
    done = run(project, "lat(call(10), baseline='x')")
    done.assert_outcomes(failed=1)
    assert "x.json" in done.stdout.str() and "Traceback" not in done.stdout.str()


# --- what remains --------------------------------------------------------------------------------


def test_the_report_holds_every_sample_and_the_gate_reads_it(project: pytest.Pytester) -> None:
    body = "lat(call(10), against=call(10)); lat(call(20), at_most_ms=24, samples=40)"
    run(project, body, "--minuet-report", "made/report.json").assert_outcomes(passed=1)
    path = project.path / "made" / "report.json"
    report = Report.from_json(json.loads(path.read_text()), str(path))
    names = [one.artifact.rpartition("::")[2] for one in report.runs]
    assert names == ["test_it", "test_it", "test_it #2"]
    assert [one.side for one in report.runs] == ["", "base", ""]
    enough = latency.SAMPLES
    assert [len(one.samples_ms["total"]) for one in report.runs] == [enough, enough, 40]
    assert all("load" not in one.samples_ms for one in report.runs), "nothing was loaded"
    limit = Limit(metric="total.p50", at_most=15.0)
    found = gate(report, Budget(name="b", limits=(limit,)))
    assert [verdict.outcome for verdict in found] == ["pass", "fail", "pass"]
    assert found[2].metric == "total.p50 over baseline"


def test_a_report_that_cannot_be_written_is_one_message(project: pytest.Pytester) -> None:
    (project.path / "file").write_text("")
    done = run(project, "lat(call(10), at_most_ms=12)", "--minuet-report", "file/report.json")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: *a file stands where a folder is needed*"])


def test_beside_other_tests_nothing_fails_and_all_is_told(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("ms", [1, 30])
        def test_it(minuet_latency, minuet_clock, ms):
            minuet_latency(minuet_clock.call(ms), at_most_ms=10)
        """
    )
    options = ("-p", "xdist", "-n2", "-rs", "--minuet-report", "report.json")
    done = project.runpytest("-p", "minuet.pytest_plugin", *options)
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines(["*= latency =*", "*pass: *", "*other tests run beside this one*"])
    runs = json.loads((project.path / "report.json").read_text())["runs"]
    assert len(runs) == 2 and all(len(run["samples_ms"]["total"]) == 100 for run in runs)


def test_enough_samples_are_those_whose_bounds_exist() -> None:
    for quantile, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        ask = latency.Ask(name="n", at_most_ms=1.0, quantile=quantile)
        assert share**ask.enough < (1 - ask.level) / 2
    with pytest.raises(RequestError, match="ask something"):
        latency.Ask(name="n")


# --- a guest in anybody's pytest -----------------------------------------------------------------


def test_loading_the_plugin_loads_nothing_else() -> None:
    probe = (
        "import sys, pytest, _pytest.config; before = set(sys.modules); "
        "import minuet.pytest_plugin; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["minuet"]


def test_a_session_without_measuring_never_loads_the_harness(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_it():
            loaded = {name for name in sys.modules if name.startswith("minuet.bench")}
            assert not loaded and "numpy" not in sys.modules
        """
    )
    done = pytester.runpytest_subprocess("-p", "minuet.pytest_plugin")
    done.assert_outcomes(passed=1)
    assert "latency" not in done.stdout.str()


def test_the_package_offers_the_fixture_to_any_pytest(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    offered = config["options.entry_points"]["pytest11"].strip().replace("minuet =", "probe =")
    info = pytester.path / "site" / "probe-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[pytest11]\n{offered}\n")
    path = os.pathsep.join([str(info.parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
    done = pytester.runpytest_subprocess("--fixtures", "-p", "probe")
    done.stdout.fnmatch_lines(["minuet_latency*"])


def test_folders_with_conftests_of_their_own_are_no_trouble(project: pytest.Pytester) -> None:
    for name in ("one", "two"):
        folder = project.mkpydir(name)
        (folder / "conftest.py").write_text("def pytest_runtest_logreport(report): pass\n")
        (folder / f"test_{name}.py").write_text("def test_it(): pass\n")
    project.runpytest_inprocess("-p", "minuet.pytest_plugin").assert_outcomes(passed=2)
