"""What trainings ask of memory: the company they keep, counted on real networks."""

from typing import Any

import pytest

from minuet.contracts.recipe import Recipe, recipe_from
from minuet.loads import critic, loads_of
from minuet.methods import critic_of
from minuet.models.config import SIZES
from minuet.models.denoiser import Denoiser
from minuet.trial import size_of

DEMO = size_of("demo")


def recipe(**asked: Any) -> Recipe:
    stage = {"size": "demo", "clips": 24}
    value = {
        "name": "small",
        "seed": 1,
        "clips": 24,
        "base": None,
        "teachers": {"one": stage, "two": stage},
        "ensemble": {"stickers": 2},
        "curate": {},
        "student": stage,
        "steps": {"clips": 24},
        **asked,
    }
    return recipe_from(value, "here")


def load(read: Recipe, name: str) -> Any:
    return next(load for names, load in loads_of(read) if name in names.split(", "))


def test_trainings_that_ask_the_same_are_named_together() -> None:
    (one,) = loads_of(recipe())
    assert one[0] == "teachers/one, teachers/two, student, steps"
    assert one[1].student == DEMO.parameters and one[1].teachers == one[1].rivals == 0


def test_a_fake_score_is_a_rival_of_its_teachers_size_and_all_teachers_are_there() -> None:
    steps = load(recipe(steps={"clips": 24, "method": "matching"}), "steps")
    assert steps.rivals == DEMO.parameters and steps.teachers == 2 * DEMO.parameters


def test_critics_are_counted_as_they_are_built() -> None:
    steps = load(recipe(steps={"clips": 24, "method": "adversarial"}), "steps")
    real = [critic_of(Denoiser(SIZES["demo"]), temporal=one) for one in (False, True)]
    assert steps.rivals == sum(p.numel() for one in real for p in one.parameters())


def test_a_rollout_keeps_every_one_of_its_steps() -> None:
    parts = {"a": {"teacher": "one"}, "b": {"teacher": "two", "critic": False}}
    heard = load(recipe(factorized={"clips": 24, "steps": 3, "parts": parts}), "factorized")
    assert heard.clip_bytes == 3 * DEMO.clip_bytes
    assert heard.rivals == critic("demo", temporal=True)


def test_what_is_shrunk_is_told_by_its_uncut_self() -> None:
    assert load(recipe(shrink={"clips": 24, "removed": 1}), "shrunk").teachers == DEMO.parameters


def test_recomputing_keeps_less() -> None:
    stage = {"size": "demo", "clips": 24, "recompute": True}
    kept = load(recipe(student=stage), "student").clip_bytes
    assert kept == DEMO.recomputed_bytes < DEMO.clip_bytes


@pytest.mark.parametrize("names", ["teachers/one, teachers/two, student, steps"])
def test_what_a_user_adds_comes_on_top(names: str) -> None:
    ((found, one),) = loads_of(recipe(), teacher=5e9, rivals=1e9, teacher_bytes=2)
    assert found == names and (one.teachers, one.rivals, one.teacher_bytes) == (5e9, 1e9, 2)
