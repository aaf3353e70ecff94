"""`minuet distill` looks before it leaps: nobody's folder is replaced, no hours are lost."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.commands.distill import STUDENT, check_place
from minuet.contracts.errors import RequestError


def test_a_folder_of_ones_own_is_not_replaced_by_a_student(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("dear")
    done = CliRunner().invoke(app, ["distill", "demo", "-o", str(tmp_path / "photos")])
    assert done.exit_code == 2 and "holds something else than a student (cat.jpg)" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["photos", "cat.jpg"]


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_place_without_a_name_is_refused_before_anything_is_taught(name: str) -> None:
    done = CliRunner().invoke(app, ["distill", "demo", "-o", name])
    assert done.exit_code == 2 and "has no name of its own" in done.stderr


def test_a_file_or_a_link_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(RequestError, match="a file or a link is in the way"):
            check_place(tmp_path / name)


def test_an_earlier_student_an_empty_folder_and_nothing_are_fine(tmp_path: Path) -> None:
    check_place(tmp_path)
    check_place(tmp_path / "new")
    for name in STUDENT:
        (tmp_path / name).touch()
    check_place(tmp_path)


def test_a_tracker_that_there_is_not_is_refused_before_anything_is_taught(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["distill", "demo", "-o", str(tmp_path / "new"), "--tracker", "waltz"]
    )
    assert done.exit_code == 2 and "no tracker is called 'waltz'" in done.stderr
    assert not list(tmp_path.iterdir())
