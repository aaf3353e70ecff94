"""The demo looks before it works for minutes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from minuet.__main__ import app


@pytest.mark.parametrize("name", ["student", "quantized", "bundle", "report"])
def test_a_place_that_is_taken_is_said_before_the_first_act(tmp_path: Path, name: str) -> None:
    mine = tmp_path / "demo" / name / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep me")
    done = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "demo")])
    assert done.exit_code == 2 and f"{name}: " in done.stderr and "choose another" in done.stderr
    assert mine.read_text() == "keep me" and not (tmp_path / "demo" / "run").exists()
