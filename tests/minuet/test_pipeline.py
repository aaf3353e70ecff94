"""A recipe runs from nothing to a student, and goes on where it was."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import write_bytes
from minuet.contracts.recipe import Recipe, Taste, recipe_from
from minuet.models.student import load_student
from minuet.pipeline import Pipeline, check_stages, read_summary
from minuet.stickers.motions import MOTIONS

TINY = {
    "name": "tiny",
    "seed": 3,
    "clips": 8,
    "base": {"size": "demo", "clips": 8, "batch": 4},
    "teachers": {
        "one": {"size": "demo", "init": "base", "clips": 4, "batch": 4},
        "two": {"size": "demo", "init": "base", "clips": 0, "taste": {"big": 3}},
    },
    "ensemble": {"stickers": 3, "steps": 2},
    "curate": {"motion": 0.0, "moved": [0.0, 100.0], "seam": 1e9, "paint": 1.0},
    "student": {
        **{"size": "demo", "clips": 4, "batch": 4, "levels": [1.0, 0.6]},
        **{"rehearsal": 2, "study": 2},
    },
    "steps": {"clips": 8, "batch": 4},
}


def easy_judge(frames_THWC: NDArray[np.uint8]) -> dict[str, float]:
    """Sees every motion in everything."""
    return dict.fromkeys(MOTIONS, 1.0)


def blind_judge(frames_THWC: NDArray[np.uint8]) -> dict[str, float]:
    """Sees no motion in anything."""
    return {}


class Told:
    """Remembers the stages that were spoken of."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        assert 0 <= done <= total
        self.stages.append(stage)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return recipe_from(TINY, "tiny")


@pytest.fixture(scope="module")
def finished(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    Pipeline(recipe, folder, easy_judge, Told()).run()
    return folder


def test_the_student_has_the_recipes_sampler_and_folds_guidance_in(
    finished: Path, recipe: Recipe
) -> None:
    student = load_student(finished / "steps" / "model")
    assert student.sampler.levels == recipe.steps.levels
    assert student.sampler.evaluations == len(recipe.steps.levels) - 1
    assert student.sampler.folded == recipe.ensemble.guidance


def test_a_teacher_with_lessons_differs_from_its_base_and_one_without_does_not(
    finished: Path,
) -> None:
    base = load_student(finished / "base" / "model").network.state_dict()
    taught = load_student(finished / "teachers" / "one" / "model").network.state_dict()
    same = load_student(finished / "teachers" / "two" / "model").network.state_dict()
    name = "stem.weight"
    assert not np.array_equal(base[name], taught[name])
    assert np.array_equal(base[name], same[name])


def test_a_finished_run_does_nothing_again(finished: Path, recipe: Recipe) -> None:
    told = Told()
    before = (finished / "steps" / "model" / "weights.safetensors").stat().st_mtime_ns
    Pipeline(recipe, finished, blind_judge, told).run()
    assert (finished / "steps" / "model" / "weights.safetensors").stat().st_mtime_ns == before
    assert not [stage for stage in told.stages if stage.startswith("train")]


def test_a_folder_holds_one_recipes_run(finished: Path, recipe: Recipe) -> None:
    with pytest.raises(RequestError, match="another recipe"):
        Pipeline(replace(recipe, seed=4), finished, easy_judge, Told())


def test_a_judge_that_keeps_nothing_is_said(tmp_path: Path, recipe: Recipe) -> None:
    strict = replace(recipe, curate=replace(recipe.curate, motion=0.5))
    with pytest.raises(RequestError, match="kept no candidate"):
        Pipeline(strict, tmp_path, blind_judge, Told()).run()


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"size": "huge"}, "'huge' is not one of"),
        ({"init": "nowhere"}, "neither an earlier stage nor a student's folder"),
        ({"init": "student"}, "neither an earlier stage nor a student's folder"),
        ({"taste": Taste(weights={"flwo": 1.0})}, r"no loss is called \['flwo'\]"),
    ],
)
def test_what_the_last_stage_would_stumble_over_is_said_before_the_first(
    tmp_path: Path, recipe: Recipe, wrong: dict[str, Any], what: str
) -> None:
    late = replace(recipe, student=replace(recipe.student, **wrong))
    with pytest.raises(RequestError, match=what):
        Pipeline(late, tmp_path / "run", easy_judge, Told())
    assert not (tmp_path / "run").exists()


def test_a_file_in_the_place_of_the_run_is_said(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RequestError, match="a file stands where a folder is needed"):
        Pipeline(recipe, tmp_path / "run", easy_judge, Told())


@pytest.mark.parametrize("harm", ["{}", "[]", '{"kept": "3", "candidates": 3}', "{"])
def test_a_harmed_summary_is_damage(tmp_path: Path, harm: str) -> None:
    write_bytes(tmp_path / "kept" / "summary.json", harm.encode())
    with pytest.raises(DamagedError, match=r"kept.summary\.json"):
        read_summary(tmp_path)


def test_an_unknown_size_is_named(tmp_path: Path, recipe: Recipe) -> None:
    assert recipe.base is not None
    wrong = replace(recipe, base=replace(recipe.base, size="huge"))
    with pytest.raises(RequestError, match="'huge' is not one of"):
        Pipeline(wrong, tmp_path, easy_judge, Told()).run()


def test_a_weight_of_no_loss_is_named_before_anything_is_taught(
    tmp_path: Path, recipe: Recipe
) -> None:
    assert recipe.base is not None
    taste = replace(recipe.base.taste, weights={"flwo": 1.0})
    wrong = replace(recipe, base=replace(recipe.base, taste=taste))
    with pytest.raises(RequestError, match=r"no loss is called \["):
        Pipeline(wrong, tmp_path, easy_judge, Told()).run()


def with_base(**changes: object) -> Recipe:
    return recipe_from(TINY | {"base": TINY["base"] | changes}, "tiny")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (with_base(size="teacher"), "teachers/one: base is not of size 'demo'"),
        (with_base(init="shipped:student"), "base: shipped:student is not of size 'demo'"),
        (with_base(init="shipped:nobody"), "base: init 'shipped:nobody' is neither"),
        (with_base(size="phone-60m", study=3), "base: size 'phone-60m' finds no parts to study"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_the_first_stage(
    asked: Recipe, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        check_stages(asked)


def test_any_training_may_begin_with_what_is_shipped() -> None:
    begun = {"size": "pocket", "init": "shipped:student", "clips": 8}
    one = {"size": "pocket", "init": "base", "clips": 8}
    check_stages(recipe_from(TINY | {"base": begun, "teachers": {"one": one}}, "tiny"))


def test_what_was_prepared_is_kept_when_the_first_step_is_interrupted(
    tmp_path: Path, recipe: Recipe
) -> None:
    told: list[str] = []

    def press(stage: str, done: int, total: int, note: str) -> None:
        told.append(stage)
        if stage == "train student":
            raise KeyboardInterrupt

    run = Pipeline(recipe, tmp_path, easy_judge, press)
    run.render()
    with pytest.raises(KeyboardInterrupt):
        run.train("student", recipe.student)
    assert (tmp_path / "student" / "checkpoint.safetensors").exists()
    assert told.count("rehearse student") == told.count("study student") == 2
    again = Told()
    Pipeline(recipe, tmp_path, easy_judge, again).train("student", recipe.student)
    assert not {"rehearse student", "study student"} & set(again.stages)
