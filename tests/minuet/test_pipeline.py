"""A recipe runs from nothing to a student, and goes on where it was."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from minuet import casting
from minuet.casting import read_summary
from minuet.checks import check_recipe
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import write_bytes, write_json
from minuet.contracts.recipe import METHODS, Ensemble, Recipe, Taste, recipe_from
from minuet.curation.candidates import Candidates
from minuet.distill import ensemble
from minuet.distill.scale import Alone
from minuet.distill.store import shard_path, write_shard
from minuet.models.student import load_student
from minuet.pipeline import Pipeline
from minuet.stickers.motions import MOTIONS
from tests.pipelines import SIDE, build

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
    "steps": {"clips": 8, "batch": 4, "rehearsal": 2},
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


LATER = ("candidates", "kept", "student", "steps", "recipe.json")


def begun(finished: Path, folder: Path, without: Sequence[str]) -> Path:
    """A folder with the first stages of the finished run."""
    return shutil.copytree(finished, folder, ignore=lambda where, names: set(without) & set(names))


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


def test_a_judge_that_keeps_nothing_is_said(finished: Path, tmp_path: Path, recipe: Recipe) -> None:
    strict = replace(recipe, curate=replace(recipe.curate, motion=0.5))
    with pytest.raises(RequestError, match="kept no candidate"):
        Pipeline(strict, begun(finished, tmp_path / "run", LATER), blind_judge, Told()).run()


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"size": "huge"}, "'huge' is not one of"),
        ({"init": "nowhere"}, "neither an earlier stage nor a student"),
        ({"init": "student"}, "neither an earlier stage nor a student"),
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
        (with_base(size="teacher"), "teachers.one.init: base is not of size 'demo'"),
        (with_base(init="shipped:student"), "base.init: shipped:student is not of size 'demo'"),
        (with_base(init="shipped:nobody"), "base.init: 'shipped:nobody' is neither"),
        (
            with_base(size="phone-60m", study=3),
            "base.study: size 'phone-60m' finds no parts",
        ),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_the_first_stage(
    asked: Recipe, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        check_recipe(asked)


def test_any_training_may_begin_with_what_is_shipped() -> None:
    begun = {"size": "pocket", "init": "shipped:student", "clips": 8}
    one = {"size": "pocket", "init": "base", "clips": 8}
    check_recipe(recipe_from(TINY | {"base": begun, "teachers": {"one": one}}, "tiny"))


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


def further(finished: Path, folder: Path, **more: Any) -> Recipe:
    """A recipe that goes on where the finished run had a student, and a folder with that run."""
    begun(finished, folder, ("steps", "recipe.json"))
    return recipe_from(TINY | more, "tiny")


@pytest.mark.parametrize("method", [name for name in METHODS if name != "kept"])
def test_every_method_of_few_steps_ends_in_a_student(
    finished: Path, tmp_path: Path, method: str
) -> None:
    few = {"clips": 4, "batch": 2, "levels": [1.0, 0.5, 0.0], "method": method}
    few |= {"teacher": "two", "teacher_steps": 4, "turns": 1}
    recipe = further(finished, tmp_path / "run", steps=few)
    made = Pipeline(recipe, tmp_path / "run", easy_judge, Told()).run()
    assert made is not None
    student = load_student(made)
    before = load_student(tmp_path / "run" / "student" / "model").network.state_dict()
    after = student.network.state_dict()
    assert student.sampler.levels == (1.0, 0.5, 0.0)
    assert any(not np.array_equal(before[name], after[name]) for name in before)


def test_a_student_shrinks_hears_scores_and_is_tuned(finished: Path, tmp_path: Path) -> None:
    parts = {
        "early": {"teacher": "one", "low": 0.5},
        "late": {"teacher": "two", "high": 0.5, "critic": False},
    }
    recipe = further(
        finished,
        tmp_path / "run",
        shrink={"clips": 8, "batch": 4, "removed": 1, "width": 0.5, "halved": True},
        factorized={"clips": 4, "batch": 2, "steps": 2, "rank": 2, "critics": 0.5, "parts": parts},
        tune={"clips": 4, "batch": 2, "every": 1, "stickers": 2},
    )
    made = Pipeline(recipe, tmp_path / "run", easy_judge, Told()).run()
    assert made == tmp_path / "run" / "tuned" / "model"
    whole = load_student(tmp_path / "run" / "student" / "model").network
    small = load_student(made).network
    assert small.config.halved and len(small.config.removed) == 1 and small.config.widths
    few, many = (sum(one.numel() for one in net.parameters()) for net in (small, whole))
    assert few < 0.8 * many
    again = Told()
    assert Pipeline(recipe, tmp_path / "run", blind_judge, again).run() == made
    assert not any(stage.startswith("train") for stage in again.stages)


def test_a_run_waits_for_people_and_goes_on_with_what_they_kept(
    finished: Path, tmp_path: Path
) -> None:
    recipe = recipe_from(TINY | {"curate": {**TINY["curate"], "by": "people"}}, "tiny")  # type: ignore[dict-item]
    begun(finished, tmp_path / "run", LATER)
    tmp_path /= "run"
    assert Pipeline(recipe, tmp_path, easy_judge, Told()).run() is None
    assert not (tmp_path / "kept").exists()
    found = Candidates(tmp_path / "candidates")
    assert len(found.clips) == 6 and found.teachers == ["one", "two"]
    assert Pipeline(recipe, tmp_path, easy_judge, Told()).run() is None  # and nothing is redone
    chosen = [found.known(found.clips[0].clip)]
    write_shard(shard_path(tmp_path / "kept", 0), chosen, {})
    summary = {"kept": 1, "candidates": 6, "kept_by_teacher": {"one": 1}}
    write_json(tmp_path / "kept" / "summary.json", summary)
    assert Pipeline(recipe, tmp_path, blind_judge, Told()).run() is not None


def test_teachers_that_were_interrupted_animate_only_what_is_left(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished / "teachers", tmp_path / "run" / "teachers")
    recipe = replace(recipe_from(TINY, "tiny"), ensemble=Ensemble(stickers=4, steps=2))
    monkeypatch.setattr(casting, "CHUNK", 2)
    asked: list[int] = []
    real = ensemble.candidates

    def counted(teachers: Any, requests: Any, seed: int, **more: Any) -> Any:
        if len(asked) == 1:
            asked.append(-1)
            raise KeyboardInterrupt
        asked.append(len(requests))
        return real(teachers, requests, seed, **more)

    monkeypatch.setattr(ensemble, "candidates", counted)
    run = Pipeline(recipe, tmp_path / "run", easy_judge, Told())
    with pytest.raises(KeyboardInterrupt):
        run.cast()
    assert run.cast() and asked == [2, -1, 2]
    shutil.copytree(finished / "teachers", tmp_path / "b" / "teachers")
    assert Pipeline(recipe, tmp_path / "b", easy_judge, Told()).cast()
    kept = "kept/clips-00000.safetensors"
    assert (tmp_path / "run" / kept).read_bytes() == (tmp_path / "b" / kept).read_bytes()


def test_a_kept_set_that_was_removed_is_chosen_again(finished: Path, tmp_path: Path) -> None:
    run = begun(finished, tmp_path / "run", ("kept", "student", "steps"))
    assert Pipeline(recipe_from(TINY, "tiny"), run, easy_judge, Told()).cast()
    kept = "kept/clips-00000.safetensors"
    assert (run / kept).read_bytes() == (finished / kept).read_bytes()


def test_a_pipeline_that_is_not_there_is_said_before_anything_is_taught() -> None:
    lent = {"film": {"folder": "nowhere"}}
    with pytest.raises(RequestError, match=r"pipelines.film.folder: nowhere: no such folder"):
        check_recipe(recipe_from(TINY | {"pipelines": lent}, "tiny"))


def test_a_pipeline_of_too_few_frames_is_refused_before_anything_is_taught(tmp_path: Path) -> None:
    folder = str(build("sd", tmp_path / "stills"))
    lent = {"stills": {"folder": folder, "steps": 1, "height": SIDE, "width": SIDE}}
    run = Pipeline(
        recipe_from(TINY | {"pipelines": lent}, "tiny"), tmp_path / "run", easy_judge, Told()
    )
    with pytest.raises(RequestError, match=r"stills: makes 1 frames, and a clip has 8"):
        run.run()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["recipe.json"]


class Several(Alone):
    """One of a few processes, as far as what is asked before the first stage."""

    def __init__(self, world: int, *, sharded: bool = False) -> None:
        super().__init__()
        self.world, self.sharded = world, sharded


CONSISTENCY = {"clips": 8, "batch": 4, "method": "consistency"}


@pytest.mark.parametrize(
    ("on", "more", "what"),
    [
        (Several(3), {}, "base: a batch of 4 cannot be cut into 3 equal shares"),
        (Several(2, sharded=True), {"tune": {"clips": 12}}, "quality tuning asks the average"),
        (Several(2, sharded=True), {"steps": CONSISTENCY}, "consistency .* asks the average"),
    ],
)
def test_what_these_processes_cannot_do_is_refused_before_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on: Several, more: dict[str, Any], what: str
) -> None:
    monkeypatch.setattr("minuet.pipeline.fleet", lambda: on)
    with pytest.raises(RequestError, match=what):
        Pipeline(recipe_from(TINY | more, "tiny"), tmp_path / "run", easy_judge, Told())
    assert not (tmp_path / "run").exists()
