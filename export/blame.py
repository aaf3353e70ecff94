"""A program and what a converter said -> the operator that it could not take, and whose it is."""

from __future__ import annotations

import re
from typing import Any

from minuet.export.capture import Program

# How converters speak of operators: aten.alias.default, prims.sin, aten::alias, fx node alias, ...
OPERATOR = re.compile(r"(?:\b(?:aten|prims)(?:\.|::)|\bfx node |\bop ')(\w+)")
ADVICE = "Rewrite that module without it, export another component, or try another target."


def blame(program: Program, error: BaseException) -> str:
    """The operator that an error names, with the module that calls it; empty if it names none.

    Looks through everything that the error was caused by.
    """
    said, cause = "", [error]
    while cause:
        one = cause.pop()
        said = f"{said}\n{one}"
        cause += [more for more in (one.__cause__ or one.__context__,) if more]
    named = set(OPERATOR.findall(said))
    nodes = [node for node in program.exported.graph.nodes if node.op == "call_function"]
    found = [node for node in nodes if _is_one_of(node, named)]
    if not found:
        return ""
    node = max(found, key=lambda one: len(str(one.target)))
    return f"the operator {node.target} of {owner(node)}"


def owner(node: Any) -> str:
    """The module that a node came from: its path and class."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "the program itself"
    path, kind = stack[-1]
    path = path.removeprefix("module.")  # what a source wraps around a module
    name = kind if isinstance(kind, str) else kind.__name__
    return f"{path or 'the module'} ({name.rpartition('.')[2]})"


def _is_one_of(node: Any, named: set[str]) -> bool:
    """Whether a node is a named operator, or was one before it was taken apart into it."""
    short = str(node.target).partition(".")[2].partition(".")[0]
    return short in named or any(short.endswith(f"_{name}") for name in named)
