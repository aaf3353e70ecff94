"""ONNX graph whose operators still say which module they came from -> a table of its stages.

A stage is one call of a module by the outermost one that calls several; a module that is called
again is numbered. What is computed between two calls belongs to the one before.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from minuet.contracts.stages import KEY, pack, plain

if TYPE_CHECKING:
    import onnx_ir as ir

SCOPES = "pkg.torch.onnx.name_scopes"  # the modules around an operator, and its own name
ROUNDING = ("QuantizeLinear", "DequantizeLinear")  # a quantizer puts them between any two
INPUT, OUTPUT = "input", "output"  # before the first call, and behind the last

Scopes = Sequence[str] | None  # paths, outermost first; None: a rule made it and did not say


def note_stages(model: ir.Model) -> None:
    """Write the table of stages into the model's metadata, if it calls any module."""
    nodes = list(model.graph)
    stages = stages_of([modules_around(node) for node in nodes])
    if not set(stages) - {INPUT}:
        return
    table: dict[str, str] = {}
    for node, stage in zip(nodes, stages, strict=True):
        names = [plain(node.name or ""), *(value.name or "" for value in node.outputs)]
        table |= dict.fromkeys(filter(None, names), stage)
    model.metadata_props[KEY] = pack(table)


def stages_of(scopes: Sequence[Scopes]) -> list[str]:
    """The stage of every operator, in order of execution."""
    calls = list(_calls(scopes, _level(scopes)))
    last = max((at for at, (_, inside) in enumerate(calls) if inside), default=len(calls))
    times = Counter(path for path, _ in {call for call, _ in calls})
    names = {path: _short(path, times) for path in times if path}
    found = []
    for at, ((path, number), _) in enumerate(calls):
        name = names.get(path, INPUT)
        numbered = f"{name}-{number}" if times[path] > 1 else name
        found.append(OUTPUT if at > last else numbered)
    return found


def _calls(scopes: Iterable[Scopes], level: int) -> Iterator[tuple[tuple[str, int], bool]]:
    """For each operator the module with the number of its call, and whether it is inside of it."""
    path, between, numbers = "", False, Counter[str]()
    for around in scopes:
        if around is not None:
            called = around[level] if len(around) > level else ""
            if called and (called != path or between):
                path = called
                numbers[path] += 1
            between = not called
        yield (path, numbers[path]), bool(path) and not between


def _level(scopes: Iterable[Scopes]) -> int:
    """How deep the outermost module lies that calls several; wrappers call one."""
    known = [around for around in scopes if around]
    deepest = max(map(len, known), default=0)
    levels = range(deepest)
    several = (at for at in levels if len({row[at] for row in known if len(row) > at}) > 1)
    return next(several, 0)


def _short(path: str, paths: Iterable[str]) -> str:
    """The last words of a path that are no other's; a number does not stand alone."""
    words = path.split(".")
    for start in reversed(range(len(words))):
        tail = ".".join(words[start:])
        others = (other for other in paths if other != path)
        if not words[start].isdigit() and not any(f".{o}".endswith(f".{tail}") for o in others):
            return tail
    return path


def modules_around(node: ir.Node) -> Scopes:
    """The paths of the modules around an operator, outermost first; None where nobody says."""
    said = None if node.op_type in ROUNDING else node.metadata_props.get(SCOPES)
    return None if said is None else [path for path in ast.literal_eval(said)[:-1] if path]
