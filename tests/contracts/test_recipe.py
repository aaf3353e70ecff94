"""A recipe from a plain mapping: defaults where nothing is said, errors with the field's name."""

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from minuet.contracts.errors import RequestError
from minuet.contracts.recipe import SCHEMA, Curate, Stage, Steps, Taste, recipe_from

LEAST: dict[str, Any] = {
    "name": "least",
    "seed": 1,
    "clips": 8,
    "base": None,
    "teachers": {"one": {"size": "demo", "clips": 4}},
    "ensemble": {"stickers": 3},
    "curate": {},
    "student": {"size": "demo", "clips": 4},
    "steps": {"clips": 8},
}
RECIPES = Path(__file__).parents[2] / "minuet" / "recipes"


def changed(path: str, value: Any) -> dict[str, Any]:
    """The least recipe with the value at a dotted path replaced."""
    found = deepcopy(LEAST)
    *outer, last = path.split(".")
    inner = found
    for name in outer:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return found


def test_what_is_not_said_has_its_default() -> None:
    recipe = recipe_from(LEAST, "here")
    assert recipe.base is None and recipe.schema == SCHEMA
    assert recipe.teachers == {"one": Stage(size="demo", clips=4, taste=Taste())}
    assert recipe.curate == Curate() and recipe.steps == Steps(clips=8)
    assert recipe.student.taste.weights == {}


def test_what_is_said_stands_at_every_depth() -> None:
    taste = {"big": 4, "scale": [0.5, 2], "weights": {"flow": 2}}
    stage = {"size": "demo", "clips": 4, "levels": [1, 0.5], "taste": taste}
    recipe = recipe_from(changed("teachers.one", stage) | {"base": stage}, "here")
    made = Taste(big=4.0, scale=(0.5, 2.0), weights={"flow": 2.0})
    expected = Stage(size="demo", clips=4, levels=(1.0, 0.5), taste=made)
    assert recipe.base == expected == recipe.teachers["one"]


def test_whole_numbers_become_floats_where_floats_are_meant() -> None:
    recipe = recipe_from(changed("student.taste.weights", {"flow": 2}), "here")
    assert type(recipe.student.taste.weights["flow"]) is float


def test_a_recipe_comes_back_from_its_plain_form() -> None:
    recipe = recipe_from(LEAST, "here")
    assert recipe_from(asdict(recipe), "there") == recipe


BOMB: list[Any] = []
for _ in range(60):  # as YAML's anchors can say it in a line
    BOMB = [BOMB, BOMB]

WRONG: dict[str, tuple[dict[Any, Any], str]] = {
    "a number that is none": (changed("curate.motion", float("nan")), r"motion: nan is not a numb"),
    "a number without end": (changed("ensemble.guidance", float("inf")), r"guidance: inf is not"),
    "a number of a thousand digits": (changed("seed", 10**1000), r"here: seed: 1.* is not a num"),
    "a number too long to be said": (changed("seed", 10**9999), r"seed: a number of thousands of"),
    "what would fill the memory, written out": (changed("name", BOMB), r"here: name: text is need"),
    "the same for a number": (changed("steps.levels", {"a": BOMB}), r"levels: a list of numbers"),
    "the same for two numbers": (changed("curate.moved", BOMB[:1]), r"moved: 2 numbers are need"),
    "a seed below 0": (changed("seed", -1), r"here: seed >= 0 and clips >= 1"),
    "an empty world": (changed("clips", 0), r"here: seed >= 0 and clips >= 1"),
    "a teacher that climbs out": (
        changed("teachers", {"../x": LEAST["student"]}),
        r"here: a stage's name is of letters, digits, - and _, got '../x'",
    ),
    "a number for a name": (changed("teachers", {1: LEAST["student"]}), r"names are text, got 1"),
    "teachers that are not asked": (changed("ensemble.stickers", 0), r"ensemble: stickers >= 1"),
    "teachers without a step": (changed("ensemble.steps", 0), r"here: ensemble: .*steps >= 1"),
    "no shift": (changed("ensemble.shift", 0.0), r"here: ensemble: .*shift > 0"),
    "a taste below nothing": (changed("student.taste", {"big": -1}), r"student.taste: big, "),
    "sizes the wrong way round": (changed("student.taste", {"scale": [2, 1]}), r"taste: scale is"),
    "a share above 1": (changed("student.taste", {"wordings": 1.5}), r"taste: wordings, rec"),
    "a level that is none": (changed("student.levels", [1.5]), r"student: noise levels are above"),
    "less than no study": (changed("student.study", -1), r"student: warmup_clips, rehearsal, "),
    "an unknown field": (changed("wheels", 4), r"here: wheels: there is no such field; known: "),
    "unknown fields of two kinds": (
        {**LEAST, "wheels": 4, 7: 1},
        r"here: 7: there is no such field",
    ),
    "unknown, deep down": (
        changed("teachers.one.taste.colour", 1),
        r"here: teachers.one.taste.colour: there is no such field",
    ),
    "a word for a number": (changed("seed", "7"), r"here: seed: a whole number is needed, got '7'"),
    "a fraction for a number": (
        changed("clips", 8.5),
        r"here: clips: a whole number is needed, got 8.5",
    ),
    "a truth for a number": (
        changed("clips", True),
        r"here: clips: a whole number is needed, got True",
    ),
    "a truth for a fraction": (
        changed("ensemble.guidance", True),
        r"here: ensemble.guidance: a number is needed, got True",
    ),
    "a number for a word": (changed("student.size", 3), r"here: student.size: text is needed"),
    "nothing for a stage": (changed("student", None), r"here: student: a mapping is needed, None"),
    "a list for a mapping": (changed("teachers", ["one"]), r"here: teachers: a mapping is needed"),
    "a number for a list": (changed("steps.levels", 1.0), r"here: steps.levels: a list of numb"),
    "a word in a list": (
        changed("curate.moved", [0.3, "much"]),
        r"here: curate.moved.1: a number is needed, got 'much'",
    ),
    "one of two numbers": (
        changed("curate.moved", [0.3]),
        r"here: curate.moved: 2 numbers are needed, got \[0.3\]",
    ),
    "a word for a weight": (
        changed("student.taste.weights", {"flow": "more"}),
        r"here: student.taste.weights.flow: a number is needed, got 'more'",
    ),
    "no teacher": (changed("teachers", {}), r"here: at least one teacher is needed"),
    "a newer schema": (changed("schema", SCHEMA + 1), rf"here: schema {SCHEMA + 1} is newer"),
    "fewer than no clips": (changed("student.clips", -1), r"here: student: clips >= 0"),
    "an empty batch": (changed("teachers.one.batch", 0), r"here: teachers.one: .*batch >= 1"),
    "a rate that is no number": (
        changed("student.learning_rate", float("nan")),
        r"here: student.learning_rate: nan is not",
    ),
    "steps that never end": (
        changed("steps.levels", [1.0, 0.6]),
        r"here: steps: levels fall from 1 to 0, got \(1.0, 0.6\)",
    ),
    "steps that rise": (changed("steps.levels", [1, 0.5, 0.6, 0]), r"here: steps: levels fall"),
    "steps on empty batches": (changed("steps.batch", 0), r"here: steps: clips >= 0, batch >= 1"),
    "more than all of the batches": (
        changed("steps.world_share", 1.5),
        r"here: steps: world_share is in 0..1, got 1.5",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_with_its_field(wrong: str) -> None:
    value, message = WRONG[wrong]
    with pytest.raises(RequestError, match=message):
        recipe_from(value, "here")


@pytest.mark.parametrize("name", list(LEAST))
def test_a_missing_field_is_named(name: str) -> None:
    rest = {key: value for key, value in LEAST.items() if key != name}
    with pytest.raises(RequestError, match=f"here: the field '{name}' is missing"):
        recipe_from(rest, "here")


def test_the_line_is_that_of_the_innermost_field_that_has_one() -> None:
    lines = {("student",): 3, ("student", "taste", "big"): 7}
    with pytest.raises(RequestError, match=r"^here, line 7: student.taste.big: a number is nee"):
        recipe_from(changed("student.taste", {"big": "x"}), "here", lines)
    with pytest.raises(RequestError, match=r"^here, line 3: student.taste.gentle: a number"):
        recipe_from(changed("student.taste", {"gentle": "x"}), "here", lines)


def drop(found: dict[str, Any], *path: str) -> dict[str, Any]:
    inner = found
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return found


def test_a_missing_field_is_named_with_where_it_is_missing() -> None:
    with pytest.raises(RequestError, match=r"here: teachers.one: the field 'size' is missing"):
        recipe_from(drop(deepcopy(LEAST), "teachers", "one", "size"), "here")


@pytest.mark.parametrize("value", [None, [], "recipe", 3])
def test_what_is_no_mapping_is_no_recipe(value: Any) -> None:
    with pytest.raises(RequestError, match=f"here: a mapping is needed, {type(value).__name__}"):
        recipe_from(value, "here")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_that_is_shipped_can_be_read(path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    recipe = recipe_from(yaml.safe_load(path.read_text(encoding="utf-8")), path.name)
    assert recipe.name == path.stem and len(recipe.teachers) == 3
