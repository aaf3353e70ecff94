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
import inspect
import re
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minuet.contracts.artifact import MAIN
from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import DTYPES
from minuet.export.sources.part import Call, Part, given_to, inputs_of, outputs_of, part_of
from minuet.export.sources.tree import rebuilt

MISSING = object()
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
    _insist_alike(word, calls)
    _insist_known(word, "takes", inputs_of(calls[0].given))
    _insist_known(word, "gives", [tensor for _, tensor in outputs_of(calls[0].made)])
    return part_of(MAIN, module, "forward", calls), _sha256(module)


def _called(word: str, here: bool) -> Any:
    package, _, name = word.partition(":")
    with _path(here):
        factory = getattr(_imported(word, package, here), name, MISSING)
        if factory is MISSING:
            raise RequestError(f"{word}: {package} has no {name}.")
        if not callable(factory):
            raise RequestError(f"{word}: is {_kind(factory)}, not a function.")
        if needed := _needed(factory):
            raise RequestError(f"{word}: needs {', '.join(needed)}; a factory takes nothing.")
        try:
            return factory()
        except (Exception, SystemExit) as error:
            raise RequestError(
                f"{word}: failed with {_said(error)}. To see where: "
                f"python -c 'import {package}; {package}.{name}()'"
            ) from error


def _imported(word: str, package: str, here: bool) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name and not f"{package}.".startswith(f"{error.name}."):
            told = f"{package} needs the module {error.name}, which is not installed; install it"
            raise RequestError(f"{word}: {told}.") from error
        hint = "" if here else " A module of the current folder needs --local-code."
        raise RequestError(f"{word}: no module {error.name} is installed.{hint}") from error
    except (Exception, SystemExit) as error:
        raise RequestError(
            f"{word}: could not be imported: {_said(error)}. To see where: "
            f"python -c 'import {package}'"
        ) from error


def _needed(factory: Callable[..., Any]) -> list[str]:
    """The parameters without a default."""
    try:
        known = inspect.signature(factory).parameters.values()
    except ValueError:  # of a function in C
        return []
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in known if one.default is one.empty and one.kind not in several]


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
        raise RequestError(f"{word}: could not be run on its example ({_said(error)}).") from error


def _insist_alike(word: str, calls: Sequence[Call]) -> None:
    """Refuse examples of several shapes: a program has one, and each example is a golden case."""
    first = _shape(calls[0])
    for at, call in enumerate(calls[1:], 2):
        if (other := _shape(call)) != first:
            raise RequestError(
                f"{word}: its example 1 is {first}, and example {at} is {other}; only values "
                "may differ, for each is a golden case of one program. Name a factory for each."
            )


def _insist_known(word: str, does: str, tensors: Sequence[Tensor]) -> None:
    """Refuse what no golden case holds."""
    if not tensors:
        raise RequestError(f"{word}: its module {does} no tensors, so there is nothing to compare.")
    for tensor in tensors:
        if (dtype := str(tensor.dtype)[6:]) not in DTYPES:
            raise RequestError(
                f"{word}: its module {does} {dtype}; golden cases hold {', '.join(DTYPES)}. Make "
                "it in float32, and name the precision with --precision."
            )


def _shape(call: Call) -> str:
    """What a call is given, in words: shapes in the place of tensors."""
    told = rebuilt(call.given, Tensor, lambda _, x: f"{str(x.dtype)[6:]}{list(x.shape)}")
    return ", ".join(f"{name} {value}" for name, value in told.items())[:300]


def _sha256(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def _said(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), "")[:300].rstrip(".")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
