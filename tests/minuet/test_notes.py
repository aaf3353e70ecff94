"""What an interrupted search left, and whether it may be believed."""

import json
from pathlib import Path

import numpy as np
import pytest

from minuet.contracts.errors import RequestError
from minuet.notes import Notes

ARRAYS = [{"image": np.arange(6, dtype=np.float32).reshape(2, 3)}]


def test_what_is_kept_is_known_again_for_the_same_inputs_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    Notes(path, ARRAYS, "int8").measure("stem", ["int8"], lambda *_: 0.5)
    assert Notes(path, ARRAYS, "int8").errors == {"stem": {"int8": 0.5}}
    assert Notes(path, ARRAYS, "palettes").errors == {}
    assert Notes(path, [{"image": ARRAYS[0]["image"].reshape(3, 2)}], "int8").errors == {}
    assert Notes(path, [{"image": ARRAYS[0]["image"] + 1}], "int8").errors == {}


@pytest.mark.parametrize(
    "errors", [None, [], {"stem": 1}, {"stem": {"int8": "much"}}, {"stem": {"int8": float("nan")}}]
)
def test_notes_that_were_tampered_with_are_passed_over(tmp_path: Path, errors: object) -> None:
    path = tmp_path / "notes"
    key = Notes(path, ARRAYS).key
    path.write_text(json.dumps({"key": key, "errors": errors}))
    assert Notes(path, ARRAYS).errors == {}
    path.write_text("{")
    assert Notes(path, ARRAYS).errors == {}


def test_only_what_is_not_known_is_measured(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def error(layer: str, way: str) -> float:
        asked.append((layer, way))
        return float(len(asked))

    for ways in (["int8"], ["weights", "int8"]):
        found = Notes(tmp_path / "notes", ARRAYS).measure("stem", ways, error)
        assert list(found) == ways
    assert asked == [("stem", "int8"), ("stem", "weights")]
    assert found == {"weights": 2.0, "int8": 1.0}


def test_an_error_that_is_none_is_refused_and_not_kept(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes", ARRAYS)
    with pytest.raises(RequestError, match="not finite with stem as int8"):
        notes.measure("stem", ["int8"], lambda *_: float("nan"))
    assert not list(tmp_path.iterdir())


def test_when_the_search_is_over_nothing_is_left(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes", ARRAYS)
    notes.measure("stem", ["int8"], lambda *_: 0.5)
    notes.forget()
    notes.forget()
    assert not list(tmp_path.iterdir())
