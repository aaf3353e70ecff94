"""`minuet curate`: what it takes, what it says, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.casting import read_summary
from minuet.curation.answers import Answer
from minuet.curation.candidates import Candidates, write_candidates
from minuet.curation.database import Answers
from minuet.curation.server import listen
from tests.minuet.curation.made import preference, verdict, verdicts
from tests.minuet.curation.serving import Served


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose candidates two people have begun to look at."""
    folder = tmp_path / "run"
    write_candidates(folder / "candidates", verdicts(), seed=3)
    with Answers(
        f"sqlite:///{folder / 'answers.sqlite'}", Candidates(folder / "candidates").run
    ) as a:
        a.add(given(Candidates(folder / "candidates")))
    return folder


def given(candidates: Candidates) -> list[Answer]:
    return [
        verdict(candidates, "Ada", 0, "bold", "keep"),
        verdict(candidates, "Bob", 0, "bold", "keep"),
        verdict(candidates, "Ada", 2, "calm", "reject"),
        verdict(candidates, "Bob", 2, "calm", "keep"),
        preference(candidates, "Ada", 0, "bold", "calm"),
        preference(candidates, "Bob", 2, "calm", "bold"),
    ]


def curate(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["curate", *(str(argument) for argument in arguments)])


def test_the_report_is_told_and_is_json(run: Path) -> None:
    words = curate(run, "--report")
    assert words.exit_code == 0
    for word in ("Krippendorff's alpha", "Ada", "bold", "most disputed requests: 2"):
        assert word in words.stdout
    found = json.loads(curate(run, "--report", "--json").stdout)["report"]
    assert found["answered"] == {"Ada": 2, "Bob": 2}
    # Two units of two: one agreed, one not; D_o = 2/4, D_e = 2 * 3 * 1 / (4 * 3).
    assert found["alpha"] == pytest.approx(1 - (2 / 4) / (6 / 12))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_answers_go_out_and_into_another_database(run: Path, tmp_path: Path, suffix: str) -> None:
    table, other = tmp_path / f"answers.{suffix}", f"sqlite:///{tmp_path / 'other.sqlite'}"
    assert "6 answers" in curate(run, "--export", table).stdout
    assert "6 answers, 6 of them new" in curate(run, "--import", table, "--database", other).stdout
    again = curate(run, "--import", table, "--database", other, "--report", "--json")
    told = json.loads(again.stdout)
    assert (told["imported"], told["new"]) == (6, 0) and told["report"]["answered"]["Ada"] == 2


def test_a_bad_row_stops_the_import_and_nothing_of_it_is_stored(run: Path, tmp_path: Path) -> None:
    table, other = tmp_path / "answers.csv", f"sqlite:///{tmp_path / 'other.sqlite'}"
    curate(run, "--export", table)
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows[:-1], rows[-1].replace("preference", "opinion")]))
    done = curate(run, "--import", table, "--database", other)
    assert done.exit_code == 2 and "row 7: kind is one of" in done.stderr
    assert json.loads(
        curate(run, "--export", tmp_path / "b.csv", "--database", other, "--json").stdout
    ) == {"exported": 0}


def test_what_people_keep_becomes_the_kept_set(run: Path) -> None:
    (run / "kept").mkdir()
    (run / "kept" / "summary.json").write_text("{}")
    (run / "steps").mkdir()
    done = curate(run, "--apply")
    assert (
        done.exit_code == 0
        and "2 clips for 6 requests; 4 that nobody looked at are left out" in done.stdout
    )
    assert "kept.1: the kept set that was there before" in done.stdout
    assert "steps learnt from an earlier kept set" in done.stderr
    assert read_summary(run)["kept_by_teacher"] == {"bold": 1, "calm": 1, "deft": 0}
    told = json.loads(curate(run, "--apply", "--unseen", "judge", "--json").stdout)
    assert told["applied"]["kept"] == 5  # the judge refuses request 1
    assert told["moved_aside"].endswith("kept.2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--order", "random"], "--order is one of shuffled, disputed, doubtful, got 'random'"),
        (["--unseen", "keep"], "--unseen is one of drop, judge"),
        (["--export", "answers.xlsx"], ".csv or .parquet"),
        (["--import", "nowhere.csv"], "nowhere.csv: missing"),
        (["--database", "mysql://x/y"], "not a database that is known here"),
    ],
)
def test_a_wrong_request_is_one_message(run: Path, options: list[str], message: str) -> None:
    done = curate(run, *options)
    assert done.exit_code == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_folder_without_candidates_says_what_makes_them(tmp_path: Path) -> None:
    done = curate(tmp_path)
    assert (
        done.exit_code == 2
        and "no candidates are here; `minuet distill` leaves them" in done.stderr
    )


def test_a_port_that_is_taken_is_one_message(run: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        done = curate(run, "--no-browser", "--port", taken.getsockname()[1])
    assert done.exit_code == 2 and "choose another --port" in done.stderr


def test_without_a_browser_the_address_is_printed_and_ctrl_c_ends_it_well(run: Path) -> None:
    bare = {"PATH": "", "BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    with Served(run, "--port", "0", env=bare) as server:
        assert server.url.startswith("http://127.0.0.1:")
        code, out, err = server.interrupt()
    assert (code, err) == (0, "")
    assert f"6 answers are in {run / 'answers.sqlite'}" in out
