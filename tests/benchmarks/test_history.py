from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minuet.benchmarks.budget import Budget
from minuet.benchmarks.history import read_history
from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_json
from minuet.contracts.report import Report

ANY = Budget(name="b")


def save(folder: Path, reports: list[Report]) -> Path:
    for at, report in enumerate(reports):
        write_json(folder / f"{at:03}" / "report.json", report.to_json())
    return folder


@pytest.fixture
def nightly(make_run: Any, make_report: Any) -> list[Report]:
    """Twenty nights; on the 13th it became a fifth slower."""
    return [
        make_report(
            make_run([100.0 + day % 3 + (20.0 if day >= 13 else 0.0)]),
            measured_at=f"2026-01-{day:02}T03:00:00+00:00",
        )
        for day in range(1, 21)
    ]


def test_a_change_is_told_with_its_day_and_size(tmp_path: Path, nightly: list[Report]) -> None:
    folder = save(tmp_path, nightly[:-1])
    found = read_history(folder, nightly[-1], ANY)
    (course,) = found.courses
    assert (found.reports, found.left_out) == (20, ())
    (change,) = course.changes
    assert course.times[change.at].startswith("2026-01-13")
    assert change.ratio.low < 1.2 < change.ratio.high
    assert "+19" in str(course) and "2026-01-13" in str(course)
    (row,) = course.to_json()["changes"]
    assert row["time"] == course.times[12] and row["ratio"]["value"] == change.ratio.value


def test_the_order_is_that_of_time_and_not_of_names(tmp_path: Path, nightly: list[Report]) -> None:
    forwards = read_history(save(tmp_path / "a", nightly[:-1]), nightly[-1], ANY)
    backwards = read_history(save(tmp_path / "b", nightly[-2::-1]), nightly[-1], ANY)
    assert forwards.courses == backwards.courses


def test_what_cannot_be_used_is_left_out_and_named(
    tmp_path: Path, nightly: list[Report], machine: Any
) -> None:
    stranger = replace(nightly[3], machine=replace(machine, cpu="Fast 1"))
    timeless = replace(nightly[4], measured_at="")
    folder = save(tmp_path, [*nightly[:3], stranger, timeless, nightly[19]])
    (tmp_path / "junk.json").write_text("[" * 100_000)
    found = read_history(folder, nightly[10], ANY)
    assert found.reports == 4
    said = "\n".join(found.left_out)
    for word in ("another machine", "does not say when", "newer than", "junk.json"):
        assert word in said
    assert read_history(folder, nightly[10], ANY, allow_strangers=True).reports == 5


def test_numbers_have_a_history_too(tmp_path: Path, nightly: list[Report]) -> None:
    grown = [
        replace(one, runs=(replace(one.runs[0], bytes_on_disk=1000 + 100 * (at > 9)),))
        for at, one in enumerate(nightly)
    ]
    budget = Budget(name="b", compare=("bytes", "energy"))
    (course,) = read_history(save(tmp_path, grown[:-1]), grown[-1], budget).courses
    assert course.metric == "bytes" and course.changes[0].at == 10


def test_no_folder_and_no_time_are_refused(tmp_path: Path, nightly: list[Report]) -> None:
    with pytest.raises(RequestError, match="not a folder"):
        read_history(tmp_path / "none", nightly[0], ANY)
    with pytest.raises(RequestError, match="when it was measured"):
        read_history(tmp_path, replace(nightly[0], measured_at="yesterday"), ANY)
