"""An answer is checked where it comes in, and the newest to a question counts."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from minuet.contracts.errors import RequestError
from minuet.curation.answers import MAX_NAME, REASONS, answer_from, name_fault, standing
from minuet.curation.candidates import Candidates
from tests.minuet.curation.made import preference, verdict

KEYS_OF_THE_PAGE = set("kru b?,.") | {str(digit) for digit in range(10)}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("id", "a/../b", "an id is of 8 to 64"),
        ("annotator", "", "a name is 1 to 64"),
        ("annotator", "x" * (MAX_NAME + 1), "a name is 1 to 64"),
        ("annotator", "evil\u202egpj.exe", "a name is 1 to 64"),
        ("annotator", "two\nlines", "a name is 1 to 64"),
        ("annotator", "=HYPERLINK(1)", "a spreadsheet would run it"),
        ("turn", 2, "turn is 0 or 1"),
        ("turn", True, "turn is a whole number"),
        ("request", 2**60, "not below 0"),
        ("at_ms", 1.5, "at_ms is a whole number"),
        ("kind", "opinion", "kind is one of"),
        ("value", "love", "a verdict is one of"),
        ("value", "tie", "a verdict is one of"),
        ("other", "zz", "a preference names two clips in order, a verdict one"),
        ("reasons", ["because"], "reasons are of"),
        ("reasons", ["sharpness", "sharpness"], "each once"),
        ("reasons", "sharpness", "reasons are a list"),
        ("reasons", [["sharpness"]], "reasons are a list"),
        ("extra", 1, "'extra' is no field of an answer"),
    ],
)
def test_what_is_no_answer_is_refused_with_its_place(
    candidates: Candidates, field: str, value: Any, message: str
) -> None:
    row = asdict(verdict(candidates, "Ada", 0, "bold", "keep"))
    assert answer_from(row, "row 7").annotator == "Ada"
    with pytest.raises(RequestError, match=f"row 7: .*{message}"):
        answer_from({**row, field: value}, "row 7")


def test_a_missing_field_is_named(candidates: Candidates) -> None:
    row = asdict(verdict(candidates, "Ada", 0, "bold", "keep"))
    del row["turn"]
    with pytest.raises(RequestError, match="'turn' is missing"):
        answer_from(row, "row 1")


def test_a_name_that_shows_nothing_is_none() -> None:
    assert name_fault("\u200d") and name_fault("")


@pytest.mark.parametrize("name", ["Ada", "<b>Ada</b>", "Zoë", "אדה", "👩\u200d🔬", "李 雷"])
def test_people_may_be_called_what_they_are_called(name: str) -> None:
    assert not name_fault(name)


def test_a_preference_in_the_wrong_order_is_refused(candidates: Candidates) -> None:
    row = asdict(preference(candidates, "Ada", 0, "bold", "calm"))
    with pytest.raises(RequestError, match="two clips in order"):
        answer_from({**row, "clip": row["other"], "other": row["clip"]}, "row 1")


def test_the_newest_answer_counts_and_none_that_was_taken_back(candidates: Candidates) -> None:
    first = verdict(candidates, "Ada", 0, "bold", "keep")
    second = verdict(candidates, "Ada", 0, "bold", "reject")
    other = verdict(candidates, "Bob", 0, "bold", "keep")
    assert standing([second, other, first]) == [second, other]
    back = replace(second, id="taken-back", value="", at_ms=second.at_ms + 1)
    assert standing([second, back, other, first]) == [other]


def test_letters_for_reasons_are_not_letters_for_anything_else() -> None:
    assert not KEYS_OF_THE_PAGE & set(REASONS)
