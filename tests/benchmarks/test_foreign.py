import json
from pathlib import Path
from typing import Any

import pytest

from minuet.benchmarks.budget import Budget, Limit
from minuet.benchmarks.foreign import read_report
from minuet.benchmarks.gate import FAIL, PASS, gate
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.report import Report

PYTEST = {
    "machine_info": {
        "cpu": {"brand_raw": "Example 9000", "count": 8},
        "system": "Linux",
        "release": "6.1",
        "python_version": "3.12.1",
    },
    "benchmarks": [{"fullname": "tests/test_a.py::test_decode", "stats": {"data": [0.01, 0.02]}}],
    "datetime": "2026-01-02T03:04:05+00:00",
}
GOOGLE = {
    "context": {"date": "2026-01-02T03:04:05+00:00", "num_cpus": 4, "mhz_per_cpu": 2000},
    "benchmarks": [
        {"name": "BM_x", "run_name": "BM_x", "run_type": "iteration", "real_time": 5.0},
        {"name": "BM_x", "run_name": "BM_x", "run_type": "iteration", "real_time": 7.0},
        {"name": "BM_x_mean", "run_name": "BM_x", "run_type": "aggregate", "real_time": 6.0},
    ],
}


def read(tmp_path: Path, text: Any, name: str = "decode.json", unit: str = "") -> Report:
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return read_report(path, unit)


def samples(report: Report) -> dict[str, tuple[float, ...]]:
    return {
        f"{run.artifact} {name}{run.side}": values
        for run in report.runs
        for name, values in run.samples_ms.items()
    }


@pytest.mark.parametrize(
    ("text", "name", "unit", "expected"),
    [
        ("a_us,b\n1000,2\n3000,4\n", "x.csv", "ms", {"a total": (1.0, 3.0), "b total": (2.0, 4.0)}),
        (
            "name,value\na_s,1\nb_ns,5e6\na_s,2\n",
            "x.csv",
            "",
            {"a total": (1e3, 2e3), "b total": (5.0,)},
        ),
        ("name,value,unit\na,1,s\n", "x.csv", "", {"a total": (1e3,)}),
        ("total_ms,first_ms\n1,2\n3,\n", "x.csv", "", {"x total": (1.0, 3.0), "x first": (2.0,)}),
        ("\ufeffa_ms\n1\n", "x.csv", "", {"a total": (1.0,)}),
        ({"a_ms": [1, 2.5]}, "x.json", "", {"a total": (1.0, 2.5)}),
        ([1, 2], "x.json", "s", {"samples total": (1e3, 2e3)}),
        ([{"a_ms": 1}, {"a_ms": 2}], "x.json", "", {"a total": (1.0, 2.0)}),
        (
            [{"name": "a_ms", "value": 1}, {"name": "a_ms", "value": 2, "side": "base"}],
            "x.json",
            "",
            {"a total": (1.0,), "a totalbase": (2.0,)},
        ),
        (PYTEST, "x.json", "", {"tests/test_a.py::test_decode total": (10.0, 20.0)}),
        (GOOGLE, "x.json", "", {"BM_x total": (5e-6, 7e-6)}),
    ],
)
def test_samples_of_any_tool_become_a_report(
    tmp_path: Path, text: Any, name: str, unit: str, expected: dict[str, tuple[float, ...]]
) -> None:
    found = samples(read(tmp_path, text, name, unit))
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(values)


def test_the_machine_and_the_time_come_along_where_they_are_told(tmp_path: Path) -> None:
    report = read(tmp_path, PYTEST)
    assert (report.machine.cpu, report.machine.cores) == ("Example 9000", 8)
    assert report.machine.os == "Linux 6.1" and report.measured_at == PYTEST["datetime"]
    assert read(tmp_path, GOOGLE).machine.cores == 4


def test_a_report_of_our_own_is_read_as_itself(
    tmp_path: Path, make_run: Any, make_report: Any
) -> None:
    report = make_report(make_run())
    assert read(tmp_path, report.to_json()) == report


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "x.csv", "no samples"),
        ("a_ms\n", "x.csv", "no samples"),
        ("a_ms,a_ms\n1,2\n", "x.csv", "two columns have the same name"),
        ("a_ms\nNaN\n", "x.csv", "'a_ms' holds 'NaN', which is no time"),
        ("a_ms\n-1\n", "x.csv", "holds '-1'"),
        ("a_ms\n1e999\n", "x.csv", "holds '1e999'"),
        ("a_ms\nfast\n", "x.csv", "holds 'fast'"),
        ("a_ms\n1,2\n", "x.csv", "a series has the name None"),
        ('a_ms\n"1\n', "x.csv", "not readable as CSV"),
        ("\x1b[2Ja_ms\n1\n", "x.csv", "short and printable"),
        ("[]", "x.json", "no samples"),
        ("{}", "x.json", "no samples"),
        ("3", "x.json", "not a minuet report, and no samples"),
        ('{"a_ms": []}', "x.json", "'a_ms' has no samples"),
        ('{"a_ms": 3}', "x.json", "'a_ms' is not a list"),
        ('{"a_ms": [NaN]}', "x.json", "holds nan"),
        ('{"a_ms": [true]}', "x.json", "holds True"),
        ('{"a_ms": [[1]]}', "x.json", "which is no time"),
        ('{"a_ms": [1' + "0" * 400 + "]}", "x.json", "which is no time"),
        ('{"a_ms": [1' + "0" * 5000 + "]}", "x.json", "not readable as JSON"),
        ("[" * 100_000, "x.json", "not readable as JSON"),
        ('[{"a_ms": 1}, 2]', "x.json", "a record is 2, not an object"),
        ('{"benchmarks": [{}], "machine_info": {}}', "x.json", "not written as its kind is"),
        (
            '{"benchmarks": [{"stats": {}}], "machine_info": {}}',
            "x.json",
            "pytest-benchmark kept no samples",
        ),
        (
            '{"benchmarks": [{"run_type": "aggregate"}], "context": {}}',
            "x.json",
            "only aggregates",
        ),
    ],
)
def test_what_is_no_samples_is_one_message(
    tmp_path: Path, text: str, name: str, message: str
) -> None:
    with pytest.raises(DamagedError, match=message.replace("[", r"\[")) as caught:
        read(tmp_path, text, name)
    assert name in str(caught.value) and len(str(caught.value)) < 400


def test_a_unit_is_asked_for_where_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"the unit of 'a' is not known.*--unit ms"):
        read(tmp_path, {"a": [1]})
    with pytest.raises(RequestError, match="one of s, ms, us, ns, got 'h'"):
        read(tmp_path, {"a": [1]}, unit="h")


def test_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="at most 1000 are read"):
        read(tmp_path, {f"a{at}_ms": [1] for at in range(1001)})
    with pytest.raises(DamagedError, match="at most 100000"):
        read(tmp_path, "a_ms\n" + "1\n" * 100_001, "x.csv")
    with pytest.raises(DamagedError, match="larger than 16 MiB"):
        read(tmp_path, "a_ms\n" + "1\n" * (9 << 20), "x.csv")


def test_they_are_judged_as_our_own(tmp_path: Path) -> None:
    rows = [{"d_ms": 10 + at % 3, "e_ms": 20 + at % 5} for at in range(60)]
    limits = (
        Limit(metric="total.p50", artifact="d", at_most=15),
        Limit(metric="total.p50", artifact="e", at_most=15),
    )
    report = read(tmp_path, rows)
    verdicts = gate(report, Budget(name="b", limits=limits))
    assert [verdict.outcome for verdict in verdicts] == [PASS, FAIL]
    slower = read(tmp_path, [{name: 1.2 * value for name, value in row.items()} for row in rows])
    assert {verdict.outcome for verdict in gate(slower, Budget(name="b"), report)} == {FAIL}


def test_sides_in_turns_are_compared_pair_by_pair(tmp_path: Path) -> None:
    rows = ["name,value,side"]
    for at in range(80):
        speed = 10 * 1.5 ** (at % 4)  # a machine that changes its mind
        rows += [f"d_ms,{1.08 * speed + at % 3 / 50},", f"d_ms,{speed + at % 5 / 50},base"]
    (verdict,) = gate(read(tmp_path, "\n".join(rows), "d.csv"), Budget(name="b"))
    assert verdict.outcome == FAIL and verdict.value == pytest.approx(1.08, abs=0.005)
