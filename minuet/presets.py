"""A preset's name or a YAML file becomes a checked recipe."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from minuet import shipped
from minuet.contracts.errors import RequestError
from minuet.contracts.recipe import Recipe, Stage, recipe_from

MAX_RECIPE_BYTES = 1 << 20  # YAML grows when it is read; no recipe comes near
FOLDER = Path(__file__).resolve().parent / "recipes"
SHIPPED = "shipped:"  # begins the name of weights that come with the package


def preset_names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def read_recipe(name: str) -> Recipe:
    """A preset by its name, or a recipe from a YAML file.

    Raises:
        RequestError: neither a preset nor a file, or the file is no recipe.
    """
    path = FOLDER / f"{name}.yaml" if name in preset_names() else Path(name)
    if not path.is_file():
        presets = ", ".join(preset_names())
        raise RequestError(
            f"{name}: neither a file nor one of the presets {presets}; name one of them."
        )
    if path.stat().st_size > MAX_RECIPE_BYTES:
        raise RequestError(f"{name}: larger than {MAX_RECIPE_BYTES >> 20} MiB; that is no recipe.")
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RequestError(f"{name}: not UTF-8 text ({error}); mend it.") from error
    except Exception as error:  # a date or a number that is none breaks PyYAML in its own ways
        raise RequestError(f"{name}: not readable as YAML ({error}); mend it.") from error
    return _found(recipe_from(value, name))


def _found(recipe: Recipe) -> Recipe:
    """The same recipe with shipped weights named by their place on this disk."""
    teachers: Mapping[str, Stage] = {
        name: _placed(stage) for name, stage in recipe.teachers.items()
    }
    return replace(recipe, teachers=teachers, student=_placed(recipe.student))


def _placed(stage: Stage) -> Stage:
    if not stage.init.startswith(SHIPPED):
        return stage
    return replace(stage, init=str(shipped.folder() / stage.init.removeprefix(SHIPPED)))


def shipped_student() -> Path:
    """The shipped student's folder. Raises RequestError where a copy comes without it."""
    found = shipped.folder() / "student"
    if not found.is_dir():
        raise RequestError("no student is shipped with this copy; name a student's folder.")
    return found
