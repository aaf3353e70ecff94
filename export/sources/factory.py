"""package.module:factory -> a part: any module, with the examples that its factory gives.

The factory takes nothing and returns the module and its examples: one example, or a list of them;
an example is a tensor, a tuple of arguments, or a mapping of forward's arguments by name.

    def tiny():
        return nn.Linear(4, 2), [torch.ones(1, 4), torch.zeros(1, 4)]

Naming it is the decision to run its code: only packages that are installed are looked at, and the
current folder if that is asked for.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minuet.contracts.artifact import MAIN
from minuet.contracts.errors import RequestError
from minuet.export.sources.part import Call, Part, given_to, part_of

FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_factory(word: str) -> bool:
    """Whether a word has the form package.module:factory."""
    return bool(FORM.fullmatch(word))


def part_from(word: str, *, here: bool = False) -> tuple[Part, str]:
    """The named module as one program, and the hash of its weights.

    Args:
        here: whether modules of the current folder may be imported too.

    Raises:
        RequestError: nothing of that name, or not what a factory gives.
    """
    made = _called(word, here)
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], nn.Module):
        raise RequestError(f"{word}: gives {_kind(made)}; a factory gives (module, examples).")
    module, examples = made[0].eval().requires_grad_(False), made[1]
    rows = examples if isinstance(examples, list) else [examples]
    if not rows:
        raise RequestError(f"{word}: gives no example; one at least says what shapes there are.")
    calls = [_call(word, module, row) for row in rows]
    return part_of(MAIN, module, "forward", calls), _sha256(module)


def _called(word: str, here: bool) -> Any:
    package, _, name = word.partition(":")
    try:
        with _path(here):
            factory = getattr(importlib.import_module(package), name)
    except ModuleNotFoundError as error:
        if error.name and not f"{package}.".startswith(f"{error.name}."):
            raise  # a module that the named one needs
        hint = "" if here else " A module of the current folder needs --local-code."
        raise RequestError(f"{word}: no module {error.name} is installed.{hint}") from error
    except AttributeError as error:
        raise RequestError(f"{word}: {package} has no {name}.") from error
    if not callable(factory):
        raise RequestError(f"{word}: is {_kind(factory)}, not a function.")
    with _path(here):
        return factory()


@contextmanager
def _path(here: bool) -> Generator[None]:
    place = str(Path.cwd())
    if here:
        sys.path.insert(0, place)
    try:
        yield
    finally:
        if here:
            sys.path.remove(place)


def _call(word: str, module: nn.Module, example: Any) -> Call:
    args: tuple[Any, ...] = (example,)
    kwargs: dict[str, Any] = {}
    if isinstance(example, tuple):
        args = example
    elif isinstance(example, Mapping):
        args, kwargs = (), dict(example)
    elif not isinstance(example, Tensor):
        raise RequestError(f"{word}: {_kind(example)} is no example; see docs/export.md.")
    try:
        given = given_to(module.forward, args, kwargs)
        with torch.no_grad():
            return Call(given=given, made=module(*args, **kwargs))
    except Exception as error:
        raise RequestError(f"{word}: could not be run on its example ({error}).") from error


def _sha256(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
