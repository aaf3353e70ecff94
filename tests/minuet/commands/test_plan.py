"""A plan counts what a recipe would do, and what it costs."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.acts import Act, acts_of, forward
from minuet.distill.study import BATCH
from minuet.presets import FOLDER, read_recipe


def by_stage(preset: str) -> dict[str, Act]:
    return {act.stage: act for act in acts_of(read_recipe(preset))}


@pytest.mark.parametrize("preset", ["demo", "default"])
def test_every_teacher_animates_every_sticker(preset: str) -> None:
    recipe, act = read_recipe(preset), by_stage(preset)["kept"]
    assert act.clips == len(recipe.teachers) * recipe.ensemble.stickers


def test_the_acts_come_in_the_order_of_the_story() -> None:
    names = list(by_stage("default"))
    assert names[:2] == ["world", "base"]
    assert names[-4:] == ["drafts/first", "drafts/second", "student", "steps"]


def test_training_costs_three_forward_passes_a_clip_and_a_sticker_studied() -> None:
    recipe, act = read_recipe("default"), by_stage("default")["drafts/first"]
    stage = recipe.drafts["first"]
    assert stage.study
    cost = forward(stage.size)
    stills = stage.study * BATCH
    expected = 3 * (stage.clips * sum(cost.values()) + stills * cost["encode"]) / 1e12
    assert act.teraflop == pytest.approx(expected)


def test_a_wider_network_costs_more() -> None:
    assert forward("teacher")["step"] > 2 * forward("pocket")["step"]


def test_hours_are_work_over_speed() -> None:
    done = CliRunner().invoke(app, ["plan", "demo", "--gflops", "100", "--json"])
    said = json.loads(done.stdout)
    assert said["teraflop"] > 0
    assert said["estimated_hours"] == pytest.approx(said["teraflop"] * 10 / 3600)


def test_an_unknown_recipe_is_a_wrong_request() -> None:
    done = CliRunner().invoke(app, ["plan", "waltz"])
    assert done.exit_code == 2 and "waltz" in done.stderr


def said(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["plan", *arguments, "--json"])
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_network_of_ones_own_is_told_by_its_parameters() -> None:
    found = said("demo", "--student=1e9", "--teacher=2e9", "--rivals=1e9", "--clip-memory=0.5")
    holds = found["memory"]["your student"]["copied"]["held"]
    assert holds["weights"] == 4e9 and holds["teachers"] == 8e9 and holds["rivals"] == 16e9
    assert "nothing fits" in found["advice"]["your student"][0]


def test_each_training_says_what_fits() -> None:
    found = said("default", "--devices=4", "--device-memory=16")
    assert set(found["memory"]) == set(found["advice"]) and len(found["memory"]) == 2
    assert all(told == ["copies fit (DDP)"] for told in found["advice"].values())


def test_a_size_that_there_is_not_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = (FOLDER / "demo.yaml").read_text()
    path.write_text(text.replace("motion: {size: teacher", "motion: {size: giant"))
    done = CliRunner().invoke(app, ["plan", str(path)])
    assert done.exit_code == 2
    assert "mine.yaml, line 9: teachers.motion.size: 'giant' is not one of" in done.stderr


def test_a_measured_speed_takes_the_place_of_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minuet.trial.gigaflops", lambda size, flop, seconds: 50.0)
    found = said("demo", "--measure")
    assert found["measured_gflops"] == {"pocket": 50.0, "teacher": 50.0}
    assert found["estimated_hours"] == pytest.approx(found["teraflop"] * 20 / 3600)
