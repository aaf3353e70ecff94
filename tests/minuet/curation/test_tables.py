"""Tables of answers: there and back, or refused with the row."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as arrow
import pytest
from pyarrow import parquet

from minuet.contracts.errors import DamagedError, RequestError
from minuet.curation.answers import Answer
from minuet.curation.candidates import Candidates
from minuet.curation.tables import read_table, write_table
from tests.minuet.curation.made import preference, verdict

SUFFIXES = (".csv", ".parquet")


@pytest.fixture
def answers(candidates: Candidates) -> list[Answer]:
    odd = verdict(candidates, '<b>"Zoë", 李</b>', 2, "calm", "reject")
    return [
        verdict(candidates, "Ada", 0, "bold", "keep"),
        preference(candidates, "Ada", 0, "bold", "calm"),
        replace(odd, reasons=("amount", "text-temporal")),
        verdict(candidates, "Ada", 0, "bold", "", turn=1),
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_answers_come_back_as_they_were(
    tmp_path: Path, candidates: Candidates, answers: list[Answer], suffix: str
) -> None:
    write_table(tmp_path / f"a{suffix}", answers)
    write_table(tmp_path / f"b{suffix}", answers)
    assert read_table(tmp_path / f"a{suffix}", candidates) == answers
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_table_of_nothing_comes_back(tmp_path: Path, candidates: Candidates) -> None:
    for suffix in SUFFIXES:
        write_table(tmp_path / f"none{suffix}", [])
        assert read_table(tmp_path / f"none{suffix}", candidates) == []


Spoil = Callable[[str], str]
SPOILT: list[tuple[Spoil, str]] = [
    (lambda text: text.replace(",turn,", ",round,"), "its columns are .*needed are"),
    (lambda text: text.replace("smoothness", "it is nice"), "row 3: reasons are of"),
    (lambda text: text.replace(",keep,", ",love,"), "row 2: a verdict is one of"),
    (lambda text: text + text.splitlines()[1] + "\n", "row 6: its id is that of row 2"),
    (lambda text: text + "just,three,values\n", "row 6: 10 values are needed"),
    (lambda text: text.replace(",verdict,", ",verdict,0000"), "row 2: no clip '0000"),
    (lambda text: text.replace(",Ada,0,", ",Ada,5,", 1), "row 2: no clip .* of request 5"),
    (lambda text: text.replace(",Ada,0,", ",Ada,zero,", 1), "row 2: request, turn, at_ms are"),
    (lambda text: text.replace(",Ada,", ",=1+1,", 1), "row 2: a name begins with none"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT)
def test_what_is_wrong_is_said_with_its_row(
    tmp_path: Path, candidates: Candidates, answers: list[Answer], spoil: Spoil, message: str
) -> None:
    path = tmp_path / "answers.csv"
    write_table(path, answers)
    text = path.read_text(encoding="utf-8")
    assert spoil(text) != text
    path.write_text(spoil(text), encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        read_table(path, candidates)


def test_a_duplicate_in_parquet_is_refused_with_both_rows(
    tmp_path: Path, candidates: Candidates, answers: list[Answer]
) -> None:
    write_table(tmp_path / "a.parquet", [*answers, answers[1]])
    with pytest.raises(RequestError, match="row 5: its id is that of row 2"):
        read_table(tmp_path / "a.parquet", candidates)


def test_parquet_may_say_null_for_empty_and_no_fraction_for_a_number(
    tmp_path: Path, candidates: Candidates, answers: list[Answer]
) -> None:
    path = tmp_path / "a.parquet"
    write_table(path, answers)
    table = parquet.read_table(path)
    rows = [{**row, "other": row["other"] or None} for row in table.to_pylist()]
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    assert read_table(path, candidates) == answers
    halves = [{**row, "at_ms": row["at_ms"] + 0.5} for row in rows]
    parquet.write_table(arrow.Table.from_pylist(halves), path)
    with pytest.raises(RequestError, match=r"row 1: .* are whole numbers"):
        read_table(path, candidates)


def test_columns_may_stand_in_any_order(
    tmp_path: Path, candidates: Candidates, answers: list[Answer]
) -> None:
    path = tmp_path / "answers.csv"
    write_table(path, answers[:2])
    rows = [line.split(",")[::-1] for line in path.read_text().splitlines()]
    path.write_text("\ufeff" + "\r\n".join(",".join(row) for row in rows), encoding="utf-8")
    assert read_table(path, candidates) == answers[:2]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_table_is_refused_by_name(
    tmp_path: Path, candidates: Candidates, suffix: str
) -> None:
    path = tmp_path / f"answers{suffix}"
    with pytest.raises(DamagedError, match="missing"):
        read_table(path, candidates)
    path.write_bytes(b"PAR1\xff\xfe" * 20)
    with pytest.raises(RequestError, match="answers"):
        read_table(path, candidates)
    with pytest.raises(RequestError, match=r"\.csv or \.parquet"):
        read_table(tmp_path / "answers.xlsx", candidates)
