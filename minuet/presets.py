"""A preset's name or a YAML file becomes a checked recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from minuet import shipped
from minuet.contracts.errors import RequestError
from minuet.contracts.recipe import FieldError, Recipe, recipe_from

MAX_RECIPE_BYTES = 1 << 20  # YAML grows when it is read; no recipe comes near
Lines = dict[tuple[str, ...], int]
FOLDER = Path(__file__).resolve().parent / "recipes"


def preset_names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def read_recipe(name: str, check: Callable[[Recipe], None] = lambda recipe: None) -> Recipe:
    """A preset by its name, or a recipe from a YAML file.

    Args:
        check: raises FieldError for what only its caller can know to be wrong.

    Raises:
        RequestError: neither a preset nor a file, or the file is no recipe: with line and field.
    """
    path = FOLDER / f"{name}.yaml" if name in preset_names() else Path(name)
    if not path.is_file():
        presets = ", ".join(preset_names())
        raise RequestError(
            f"{name}: neither a file nor one of the presets {presets}; name one of them."
        )
    if path.stat().st_size > MAX_RECIPE_BYTES:
        raise RequestError(f"{name}: larger than {MAX_RECIPE_BYTES >> 20} MiB; that is no recipe.")
    value, lines = _parsed(path, name)
    recipe = recipe_from(value, name, lines)
    try:
        check(recipe)
    except FieldError as error:
        raise error.at(name, lines) from error
    return recipe


def _parsed(path: Path, name: str) -> tuple[Any, Lines]:
    """YAML's plain values, and the line on which each field stands."""
    import yaml

    lines: Lines = {}
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            return None, lines
        _note(node, (), lines, set())
        return loader.construct_document(node), lines
    except FieldError as error:
        raise error.at(name, lines) from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        told = f"{name}{line}: not readable as YAML ({error.problem}); mend it."
        raise RequestError(told) from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{name}: not UTF-8 text ({error}); mend it.") from error
    except Exception as error:  # a date or a number that is none breaks PyYAML in its own ways
        raise RequestError(f"{name}: not readable as YAML ({error}); mend it.") from error


def _note(node: Any, path: tuple[str, ...], lines: Lines, seen: set[int]) -> None:
    """Note the line of all that is below a node, each once: anchors make trees of gigabytes."""
    if id(node) in seen or isinstance(node.value, str):
        return
    seen.add(id(node))
    for at, row in enumerate(node.value):
        key, value = row if isinstance(row, tuple) else (None, row)
        inner = (*path, str(key.value) if key else str(at))
        twice = inner in lines
        lines[inner] = (key or value).start_mark.line + 1
        if twice:
            raise FieldError(inner, "is said twice; leave one of the two.")
        _note(value, inner, lines, seen)


def shipped_student() -> Path:
    """The shipped student's folder. Raises RequestError where a copy comes without it."""
    found = shipped.folder() / "student"
    if not found.is_dir():
        raise RequestError("no student is shipped with this copy; name a student's folder.")
    return found
