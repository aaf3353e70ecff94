"""Captured program -> its stages: which modules it calls in which order, and what they hand on.

A stage is one call of one component, and a component is a module at the level where the program
first branches into several. What is computed between modules belongs to no stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, fx
from torch.export import ExportedProgram

from minuet.benchmarks.parity_graph import contracts, nodes

AGAIN = re.compile(r"@(\d+)")  # how torch marks the calls of a module after its first
STAGE = "models.stage.Stage"  # only a name for calls of components


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One call of one component."""

    component: str
    call: int
    outputs: tuple[str, ...]  # nodes whose floating values others read
    depth: int  # contractions in it


def stages(program: ExportedProgram) -> list[Stage]:
    """In order of execution."""
    owners = _owners(program)
    found: dict[tuple[str, int], list[fx.Node]] = {}
    for node in nodes(program):
        if node.name in owners:
            found.setdefault(owners[node.name], []).append(node)
    return [
        Stage(
            component=component,
            call=call,
            outputs=tuple(node.name for node in rows if _handed_on(node, owners)),
            depth=sum(map(contracts, rows)),
        )
        for (component, call), rows in found.items()
    ]


def step_ends(program: ExportedProgram) -> list[tuple[str, ...]]:
    """For every step but the last, the floating values that pass from it to later ones.

    A step begins where the component that is called most often is called again; a program that
    calls each once is one step.
    """
    owners, order = _owners(program), nodes(program)
    begins: dict[tuple[str, int], int] = {}
    for at, node in enumerate(order):
        begins.setdefault(owners.get(node.name, ("", 0)), at)
    counts: dict[str, int] = {}
    for component, call in begins:
        counts[component] = max(counts.get(component, 0), call)
    often = max(counts, key=lambda name: counts[name], default="")
    starts = [begins[often, call] for call in range(1, counts.get(often, 0) + 1)]
    return [tuple(_crossing(order, at)) for at in starts]


def _crossing(order: list[fx.Node], at: int) -> Iterator[str]:
    later = {node.name for node in order[at:]}
    for node in order[:at]:
        if _floating(node) and any(u.name in later or u.op == "output" for u in node.users):
            yield node.name


def _handed_on(node: fx.Node, owners: Mapping[str, tuple[str, int]]) -> bool:
    own = owners[node.name]
    return _floating(node) and any(owners.get(user.name) != own for user in node.users)


def _floating(node: fx.Node) -> bool:
    value = node.meta["val"]
    return isinstance(value, Tensor) and value.is_floating_point()


def _owners(program: ExportedProgram) -> dict[str, tuple[str, int]]:
    """Each node's component and the number of its call; nodes between modules have none."""
    stacks = {node.name: _modules(node) for node in nodes(program)}
    level = _branching({tuple(path.split(".")) for stack in stacks.values() for path in stack})
    owners = {}
    for name, stack in stacks.items():
        inside = {path: call for path, call in stack.items() if len(path.split(".")) >= level}
        if inside:
            path, call = next(iter(inside.items()))
            owners[name] = ".".join(path.split(".")[:level]), call
    return owners


def _branching(paths: set[tuple[str, ...]]) -> int:
    """How many words of a path name a component: the first level with more than one module."""
    deepest = max(map(len, paths), default=1)
    levels = range(1, deepest + 1)
    return next((n for n in levels if len({path[:n] for path in paths if path[n - 1 :]}) > 1), 1)


def _modules(node: fx.Node) -> dict[str, int]:
    """Paths of the modules around a node, outermost first, each with the number of its call."""
    found = {}
    for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items():
        again = AGAIN.search(key)
        if path and not str(kind).endswith(STAGE):
            found[path] = int(again[1]) if again else 0
    return found
