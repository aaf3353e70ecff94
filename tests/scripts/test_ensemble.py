"""The ensemble's table: every student of every set, once, in the same numbers of steps."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from scripts import ensemble

TINY = {
    "name": "tiny",
    "seed": 3,
    "clips": 8,
    "base": {"size": "demo", "clips": 4, "batch": 4},
    "teachers": {
        "one": {"size": "demo", "init": "base", "clips": 0},
        "two": {"size": "demo", "init": "base", "clips": 4, "batch": 4},
    },
    "ensemble": {"stickers": 2, "steps": 1},
    "curate": {"motion": 0.0, "moved": [0.0, 100.0], "seam": 1.0e9, "paint": 1.0},
    "student": {"size": "demo", "init": "base", "clips": 0},
    "steps": {"clips": 4, "batch": 4, "levels": [1.0, 0.5, 0.0], "rehearsal": 1},
}


@pytest.mark.slow
def test_students_of_all_and_of_each_are_compared_and_not_taught_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    out = tmp_path / "out.json"
    command = f"ensemble {tmp_path / 'run'} --recipe {tmp_path / 'tiny.yaml'} --clips 2 -o {out}"
    monkeypatch.setattr(sys, "argv", command.split())
    monkeypatch.setattr(ensemble, "STEPS", (1, 2))
    ensemble.main()
    table = json.loads(out.read_text())["table"]
    assert sorted(table) == ["ensemble", "one", "start", "two"]
    assert all(len(table[name][steps]["combined"]) == 2 for name in table for steps in ("1", "2"))
    assert capsys.readouterr().out.count("| ensemble |") == 1
    before = (tmp_path / "run/of-one/steps/model/weights.safetensors").stat().st_mtime_ns
    ensemble.main()
    assert (tmp_path / "run/of-one/steps/model/weights.safetensors").stat().st_mtime_ns == before
