"""Nested values -> their tensors by name, and back."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

Path = tuple[str, ...]  # keys, fields and places from the outside in


def rebuilt(value: Any, kind: type, change: Callable[[Path, Any], Any], at: Path = ()) -> Any:
    """The same structure with each leaf of a kind changed; what is nothing of the sort stays.

    Looks into mappings (the outputs of models are such), tuples, lists, and the distributions that
    autoencoders give, which their parameters describe.
    """
    if isinstance(value, kind):
        return change(at, value)
    if isinstance(value, Mapping) and dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        rows = {k: rebuilt(getattr(value, k), kind, change, (*at, k)) for k in names}
        return cast(Any, type(value))(**rows)
    if isinstance(value, Mapping):
        return {k: rebuilt(v, kind, change, (*at, str(k))) for k, v in value.items()}
    if isinstance(value, tuple | list):
        items = [rebuilt(v, kind, change, (*at, str(k))) for k, v in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Parametric):
        return _parametric(value.kind, rebuilt(value.parameters, kind, change, at))
    if isinstance(getattr(value, "parameters", None), kind):
        return _parametric(type(value), change((*at, "parameters"), value.parameters))
    return value


@dataclasses.dataclass(frozen=True, slots=True)
class Parametric:
    """A distribution whose parameters are no tensor for now."""

    kind: type
    parameters: Any


def _parametric(kind: type, parameters: Any) -> Any:
    return kind(parameters) if hasattr(parameters, "chunk") else Parametric(kind, parameters)


def leaves(value: Any, kind: type) -> list[tuple[Path, Any]]:
    """The leaves of a kind with their paths, in the order that `rebuilt` meets them."""
    found: list[tuple[Path, Any]] = []

    def note(at: Path, leaf: Any) -> Any:
        found.append((at, leaf))
        return leaf

    rebuilt(value, kind, note)
    return found


def names_of(paths: Sequence[Path], otherwise: str) -> list[str]:
    """Short identifiers: the last key, and as many before it as tell the paths apart.

    added_cond_kwargs.text_embeds becomes text_embeds, image_rotary_emb.0 image_rotary_emb_0.
    """
    lengths = [_meaningful(path) for path in paths]
    while True:
        found = [_joined(path[-n:], otherwise) for path, n in zip(paths, lengths, strict=True)]
        twice = [at for at, name in enumerate(found) if found.count(name) > 1]
        longer = [at for at in twice if lengths[at] < len(paths[at])]
        if not longer:
            return [name if found.count(name) == 1 else f"{name}_{at}"
                    for at, name in enumerate(found)]  # fmt: skip
        for at in longer:
            lengths[at] += 1


def _meaningful(path: Path) -> int:
    """How many keys from the end a name needs to be more than a number."""
    named = (at for at, key in enumerate(reversed(path), 1) if not key.isdigit())
    return next(named, max(len(path), 1))


def _joined(keys: Path, otherwise: str) -> str:
    text = re.sub(r"\W", "_", "_".join(keys), flags=re.ASCII).strip("_")
    return text if text and not text[0].isdigit() else "_".join(filter(None, (otherwise, text)))
