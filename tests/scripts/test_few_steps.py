"""The table of few-step methods: each trained, sampled and scored; finished ones not again."""

import json
import sys
from pathlib import Path

import pytest

from minuet.benchmarks.quality import METRICS
from minuet.models.student import Sampler, Student, load_student, save_student
from minuet.stickers import captions
from scripts import few_steps
from tests.models.tiny import denoiser


@pytest.mark.slow
def test_methods_become_rows_and_finished_ones_are_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = denoiser(side=64, frames=8, parts=12, landmarks=13, traits=4, vocabulary=128)
    sampler = Sampler(levels=(1.0, 0.5, 0.0), guidance=1.5)
    start = Student(network=network, sampler=sampler, tokenizer=captions.tokenizer_json(), card="")
    save_student(start, tmp_path / "start")
    short = "--minutes 0.001 --clips 2 --lessons 4 --batch 2 --steps 1 2"
    command = f"few_steps -o {tmp_path / 'out'} --start {tmp_path / 'start'} {short} --methods "
    monkeypatch.setattr(sys, "argv", (command + "world matching folding").split())
    monkeypatch.setattr(few_steps, "TRIAL", 1)
    few_steps.main()
    found = json.loads((tmp_path / "out" / "few-steps.json").read_text())["methods"]
    assert sorted(found) == ["folding", "matching", "start", "teacher", "world"]
    for name in ("world", "matching", "folding"):
        assert found[name]["clips"] >= 2 and found[name]["seconds"] > 0
        assert list(found[name]["by_steps"]) == ["1", "2"]
        assert set(found[name]["by_steps"]["2"]["metrics"]) == set(METRICS)
    assert found["teacher"]["by_steps"]["2"]["evaluations"] == 4
    assert found["matching"]["by_steps"]["2"]["evaluations"] == 2
    assert load_student(tmp_path / "out" / "folding" / "student").sampler.scales == (1.5,)
    assert (tmp_path / "out" / "few-steps.md").read_text().count("| matching |") == 2

    def never(*_: object) -> None:
        pytest.fail("trained again")

    monkeypatch.setattr(few_steps, "measured", never)
    few_steps.main()
    assert "| folding |" in capsys.readouterr().out
