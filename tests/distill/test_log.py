"""Reports as JSON lines: none twice, and half a line is none."""

from pathlib import Path

from minuet.distill.log import Log


def test_a_resumed_run_does_not_tell_a_step_twice(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert [Log(path).write({"step": 5}), Log(path).write({"step": 5})] == [True, False]
    assert Log(path).write({"step": 10}) and path.read_text().count("\n") == 2


def test_half_a_line_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 5}\n{"step": 10, "lo')
    assert Log(path).write({"step": 10})
    assert path.read_text() == '{"step": 5}\n{"step": 10}\n'


def test_half_of_the_first_line_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"st')
    assert Log(path).write({"step": 1}) and path.read_text() == '{"step": 1}\n'
