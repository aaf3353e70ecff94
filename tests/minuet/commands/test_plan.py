"""A plan counts what a recipe would do, and what it costs."""

import json

import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.commands.plan import Act, acts_of, forward
from minuet.distill.study import BATCH
from minuet.presets import read_recipe


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
