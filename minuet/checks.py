"""A recipe -> refused at once where a later stage would only stumble over it after hours."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

from minuet import shipped
from minuet.contracts.errors import MinuetError
from minuet.contracts.files import contained
from minuet.contracts.recipe import FieldError, Recipe, Stage, Taste
from minuet.distill.losses import Weights
from minuet.export.sources.folder import read_folder
from minuet.models.config import SIZES
from minuet.models.student import load_student
from minuet.stickers.motions import MOTIONS

SHIPPED = "shipped:"  # begins the name of weights that come with the package
Place = tuple[str, ...]  # a field's names, outermost first


def check_recipe(recipe: Recipe) -> None:
    """Sizes, losses, motions, starts and names of teachers: all that only the code knows.

    Raises:
        FieldError: what there is not, or a start of another size, with the field.
    """
    sizes: dict[str, str] = {}
    for name, place, stage in stages(recipe):
        _check_stage(place, stage)
        if stage.init:
            _check_start((*place, "init"), stage, sizes)
        sizes[name] = stage.size
    for name, one in recipe.pipelines.items():
        try:
            read_folder(Path(one.folder))
        except MinuetError as error:
            raise FieldError(("pipelines", name, "folder"), str(error)) from error
    _check_few(recipe)


def stages(recipe: Recipe) -> Iterator[tuple[str, Place, Stage]]:
    """Every training on the world in order: its folder, its field, itself."""
    if recipe.base is not None:
        yield "base", ("base",), recipe.base
    for kind, rows in (("teachers", recipe.teachers), ("drafts", recipe.drafts)):
        for name, stage in rows.items():
            yield f"{kind}/{name}", (kind, name), stage
    yield "student", ("student",), recipe.student


def _check_stage(place: Place, stage: Stage) -> None:
    if stage.size not in SIZES:
        raise FieldError((*place, "size"), f"{stage.size!r} is not one of {sorted(SIZES)}.")
    if stage.study and not SIZES[stage.size].puppet:
        raise FieldError(
            (*place, "study"), f"size {stage.size!r} finds no parts to study; leave `study` out."
        )
    if unknown := sorted(set(stage.taste.motions) - set(MOTIONS)):
        known = ", ".join(MOTIONS)
        raise FieldError(
            (*place, "taste", "motions"), f"no motion is called {unknown}; known: {known}."
        )
    weights_of(stage.taste, place)


def weights_of(taste: Taste, place: Place = ()) -> Weights:
    """The usual weights with a taste's own in their place.

    Raises:
        FieldError: a weight of no loss.
    """
    known = {field.name for field in fields(Weights)}
    if unknown := sorted(set(taste.weights) - known):
        raise FieldError(
            (*place, "taste", "weights"), f"no loss is called {unknown}; known: {sorted(known)}."
        )
    return replace(Weights(), **taste.weights)


def _check_start(place: Place, stage: Stage, sizes: Mapping[str, str]) -> None:
    """A start is an earlier stage or a student's folder, and of the stage's own size."""
    if stage.init in sizes:
        same = sizes[stage.init] == stage.size
    elif (folder := start(stage.init)).is_dir():
        same = load_student(folder).network.config == SIZES[stage.size]
    else:
        raise FieldError(place, f"{stage.init!r} is neither an earlier stage nor a student.")
    if not same:
        raise FieldError(place, f"{stage.init} is not of size {stage.size!r}.")


def _check_few(recipe: Recipe) -> None:
    """The later stages ask teachers that are networks of ours, at noise levels."""
    known = sorted(recipe.teachers)
    steps, parts = recipe.steps, recipe.factorized.parts if recipe.factorized else {}
    named: list[tuple[Place, str]] = []
    if steps.teacher:
        named.append((("steps", "teacher"), steps.teacher))
    named += [(("steps", "then", name), name) for name in steps.then]
    named += [(("factorized", "parts", key), part.teacher) for key, part in parts.items()]
    for place, name in named:
        if name not in known:
            raise FieldError(place, f"no teacher with noise levels is called {name!r}: {known}.")
    if (steps.method != "kept" or parts) and not known:
        raise FieldError(("teachers",), "a teacher with noise levels is asked, and there is none.")
    cuts = list(steps.then.values())
    if cuts != sorted(set(cuts)):
        raise FieldError(("steps", "then"), f"log-SNRs rise from one to the next, got {cuts}.")
    if steps.method == "progressive" and steps.teacher_steps % (len(steps.levels) - 1):
        raise FieldError(
            ("steps", "teacher_steps"),
            f"{steps.teacher_steps} do not divide into {len(steps.levels) - 1} steps.",
        )


def start(init: str) -> Path:
    """Where the weights lie that a stage begins with, if no earlier stage makes them."""
    if init.startswith(SHIPPED):
        return contained(shipped.folder(), init.removeprefix(SHIPPED))
    return Path(init)
