"""JSON from a stranger -> a dataclass whose every field is of the kind that its annotation says."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

LARGEST = 2**63  # of a number: 64 bits, as in every other language's JSON


def record(kind: Any, value: Any, name: str = "") -> Any:
    """A JSON value as an annotation has it: a dataclass, X | None, a tuple, a dict, or a scalar.

    Fields that have a default may be missing. A number is finite, and a truth value is none. What
    is annotated as Any is taken as it is, if every number in it is finite.

    Args:
        name: where the value stands in a larger one, e.g. "runs[0].threads".

    Raises:
        ValueError: names the field that is missing, unknown, or of another kind.
    """
    if kind is Any:
        return _finite(value, name)
    if is_dataclass(kind):
        return _fields(kind, value, name)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        rows = _is(list, "a list", value, name)
        return tuple(record(inner[0], row, f"{name}[{at}]") for at, row in enumerate(rows))
    if origin is dict:
        rows = _is(Mapping, "a mapping", value, name)
        return {key: record(inner[1], row, f"{name}.{key}") for key, row in rows.items()}
    if type(None) in inner:
        return None if value is None else record(inner[0], value, name)
    return _scalar(kind, value, name)


def _fields(kind: Any, value: Any, name: str) -> Any:
    rows = _is(Mapping, "a mapping", value, name or "it")
    hints = _hints(kind)
    if unknown := sorted(set(rows) - set(hints)):
        raise ValueError(f"{name or 'it'} has an unknown field {unknown[0]!r:.60}")
    needed = {row.name for row in fields(kind) if row.default is row.default_factory is MISSING}
    if missing := sorted(needed - set(rows)):
        raise ValueError(f"{name or 'it'} lacks {missing[0]}")
    before = f"{name}." if name else ""
    found = {key: record(hints[key], row, f"{before}{key}") for key, row in rows.items()}
    try:
        return kind(**found)
    except ValueError as error:  # what a dataclass itself asks of its fields
        raise ValueError(f"{name}: {error}" if name else str(error)) from error


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _scalar(kind: Any, value: Any, name: str) -> Any:
    if kind is str:
        return _is(str, "text", value, name)
    if kind is bool:
        return _is(bool, "true or false", value, name)
    wanted = "a number" if kind is float else "a whole number"
    found = _is((int, float) if kind is float else int, wanted, value, name)
    if isinstance(value, bool) or not abs(found) < LARGEST:  # nor is a NaN below anything
        raise ValueError(f"{name} is {_said(value)}, not {wanted}")
    return found


def _finite(value: Any, name: str) -> Any:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"{name} holds {one!r}, not a number")
        left += one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else ()
    return value


def _is(kind: Any, wanted: str, value: Any, name: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {_said(value)}, not {wanted}")
    return value


def _said(value: Any) -> str:
    """A value in a few words; what holds others is not spelt out, since it may be bottomless."""
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list) else f"{value!r:.40}"
