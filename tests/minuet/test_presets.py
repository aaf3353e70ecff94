"""A recipe is read once, at the door, and everything wrong with it is said there."""

from pathlib import Path

import pytest

from minuet.contracts.errors import RequestError
from minuet.contracts.recipe import FieldError, Recipe
from minuet.presets import MAX_RECIPE_BYTES, preset_names, read_recipe

GOOD = """
name: small
seed: 1
clips: 8
base: null
teachers: {motion: {size: demo, clips: 10, init: "shipped:teachers/motion"}}
ensemble: {stickers: 4}
curate: {}
student: {size: demo, clips: 20}
steps: {clips: 3}
"""


def written(folder: Path, text: str) -> str:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_read_by_its_name(name: str) -> None:
    assert read_recipe(name).name == name


def test_there_is_a_demo_and_a_default() -> None:
    assert {"demo", "default"} <= set(preset_names())


def test_a_file_gives_the_recipe_it_says(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, GOOD))
    assert (recipe.student.clips, recipe.ensemble.stickers, recipe.seed) == (20, 4, 1)


def test_a_shipped_start_keeps_its_name(tmp_path: Path) -> None:
    """A run is the same run where the package lies elsewhere."""
    recipe = read_recipe(written(tmp_path, GOOD))
    assert recipe.teachers["motion"].init == "shipped:teachers/motion"
    assert recipe.student.init == ""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 1", "", "'seed' is missing"),
        ("seed: 1", "seed: one", "line 3: seed: a whole number is needed, got 'one'"),
        ("seed: 1", "sed: 1", "line 3: sed: there is no such field"),
        ("clips: 20", "clips: -20", "line 9: student: clips >= 0"),
        ("clips: 20", "clips: 20, taste: {big: x}", "line 9: student.taste.big: a number is nee"),
        ("seed: 1", "seed: 1\nseed: 2", "line 4: seed: is said twice"),
        ("clips: 20", "clips: 20, clips: 21", "line 9: student.clips: is said twice"),
        ("stickers: 4", "stickers: [4", "line 7: not readable as YAML .expected"),
        (GOOD, "- a\n- b", "a mapping is needed"),
        (GOOD, "a: [", "not readable as YAML"),
        (GOOD, "a: !!python/object/apply:os.getcwd []", "not readable as YAML"),
        (GOOD, "", "a mapping is needed"),
        ("name: small", "name: 2024-13-45", "not readable as YAML"),
        ("seed: 1", "seed: " + "9" * 5000, "not readable as YAML"),
        ("seed: 1", "seed: !!timestamp x", "not readable as YAML"),
        ("name: small", "name: !!bool x", "not readable as YAML"),
        (GOOD, "#" * (MAX_RECIPE_BYTES + 1), "larger than 1 MiB"),
    ],
)
def test_a_wrong_recipe_is_refused_in_words(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    with pytest.raises(RequestError, match=message):
        read_recipe(written(tmp_path, GOOD.replace(old, new)))


def test_what_only_the_caller_knows_to_be_wrong_has_its_line_too(tmp_path: Path) -> None:
    def check(recipe: Recipe) -> None:
        raise FieldError(("teachers", "motion", "size"), f"there is no {recipe.name}.")

    with pytest.raises(RequestError, match=r"recipe.yaml, line 6: teachers.motion.size: there is"):
        read_recipe(written(tmp_path, GOOD), check)


def test_lines_that_stand_for_gigabytes_are_read_once(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    with pytest.raises(RequestError, match="line 1: a0: there is no such field"):
        read_recipe(written(tmp_path, bomb))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="not UTF-8"):
        read_recipe(str(path))


def test_a_name_that_is_neither_preset_nor_file_is_refused_with_the_presets() -> None:
    with pytest.raises(RequestError, match="one of the presets default, demo"):
        read_recipe("waltz")
