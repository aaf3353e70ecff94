"""A preset's name or a YAML file becomes a checked recipe."""

from pathlib import Path

from minuet import shipped
from minuet.contracts.errors import RequestError
from minuet.contracts.recipe import Recipe, recipe_from

MAX_RECIPE_BYTES = 1 << 20  # YAML grows when it is read; no recipe comes near
FOLDER = Path(__file__).resolve().parent / "recipes"


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
    return recipe_from(value, name)


def shipped_student() -> Path:
    """The shipped student's folder. Raises RequestError where a copy comes without it."""
    found = shipped.folder() / "student"
    if not found.is_dir():
        raise RequestError("no student is shipped with this copy; name a student's folder.")
    return found
