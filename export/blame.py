"""A program and what a converter said -> the operator that it could not take, and whose it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import MinuetError
from minuet.export.capture import Program
from minuet.export.quiet import quiet

if TYPE_CHECKING:
    from torch.fx import Node

# How converters speak of operators: aten.alias.default, prims.sin, aten::alias, fx node alias, ...
OPERATOR = re.compile(r"(?:\b(?:aten|prims)(?:\.|::)|\bop '|\boperator:? )(\w+)")
# ... and of nodes: node %alias, node alias (alias), with name: node_alias_8.
NODE = re.compile(r"\b(?:node |name: )%?(?:node_)?([A-Za-z_]\w*)")
COLORS = re.compile(r"\x1b\[[0-9;]*m")
WRAPPERS = frozenset({"Bound", "Called"})  # what a source wraps around a module
METHOD = re.compile(r"([A-Za-z_]\w*)\.\w+")  # of a class, as the meaning of an output
LEAST = 4  # letters of a name that may stand for a longer one
ADVICE = "Rewrite that module without it, export another component, or try another target."


def blame(program: Program, error: BaseException) -> str:
    """The operator that an error names, with the module that calls it; empty if it names none.

    Looks through everything that the error was caused by. Where nothing of the program has such a
    name, what torch takes it apart into is looked at, and then what makes complex numbers, which
    converters fail at without a word.
    """
    said = "\n".join(str(one) for one in causes(error))
    named = {_plain(name) for form in (OPERATOR, NODE) for name in form.findall(said)}
    found = _meant(_calls(program.exported), named)
    if not found and named:
        found = _meant(_calls(_taken_apart(program)), named, least=2)
    if found:
        return f"the operator {found.target} of {_whose(program, found)}"
    for node in _calls(program.exported):
        if getattr(getattr(node.meta.get("val"), "dtype", None), "is_complex", False):
            return (
                f"the operator {node.target} of {_whose(program, node)}, which makes complex "
                "numbers"
            )
    return ""


def explained(program: Program, error: BaseException) -> str:
    """What a converter said, with the operator, its module and what to do, each once."""
    said = COLORS.sub("", str(error)).strip() or type(error).__name__
    if not isinstance(error, MinuetError):  # a library's, which may be pages long
        said = said.splitlines()[0][:300]
    said = said.rstrip(" .")
    if ADVICE.rstrip(".") in said:  # it was blamed where it was raised
        return f"{said}."
    culprit = blame(program, error)
    if not culprit:
        return f"{said}."
    return f"{said}{'' if culprit in said else f'. It is {culprit}'}. {ADVICE}"


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from."""
    one: BaseException | None = error
    while one:
        yield one
        one = one.__cause__ or one.__context__


def owner(node: Any) -> str:
    """The module that a node came from: its path and class."""
    path, kind = "", ""
    for place, found in (node.meta.get("nn_module_stack") or {}).values():
        name = (found if isinstance(found, str) else found.__name__).rpartition(".")[2]
        if name not in WRAPPERS:
            path, kind = place.removeprefix("module."), name
    if not kind:
        return "the module itself" if node.meta.get("nn_module_stack") else "the program itself"
    return f"{path or 'the module'} ({kind})"


def _whose(program: Program, node: Node) -> str:
    """An operator of the outermost module has only our wrapper around it; its class is known."""
    found = owner(node)
    kind = METHOD.fullmatch(next((one.meaning for one in program.signature.outputs), ""))
    return f"the module ({kind[1]})" if kind and found == "the module itself" else found


def _meant(nodes: Iterable[Node], named: set[str], least: int = 1) -> Node | None:
    """The node that is surest to be named; of several, the one with the longest name."""
    ranked = [(_rank(node, named), len(str(node.target)), node) for node in nodes]
    return max(
        (row for row in ranked if row[0] >= least), key=lambda row: row[:2], default=(0, 0, None)
    )[2]


def _rank(node: Node, named: set[str]) -> int:
    """How surely a node is a named one: by its name, by a longer one, or by how it begins."""
    short = _plain(str(node.target).partition(".")[2].partition(".")[0])
    if short in named or _plain(node.name) in named:
        return 3
    if any(short.endswith(f"_{name}") for name in named):
        return 2
    bare = short.replace("_", "")
    others = {name.replace("_", "") for name in named}
    long = {name for name in others if min(len(name), len(bare)) >= LEAST}
    return int(any(bare.startswith(name) or name.startswith(bare) for name in long))


def _plain(name: str) -> str:
    return name.strip("_").lower()


def _calls(exported: Any) -> list[Node]:
    return [node for node in exported.graph.nodes if node.op == "call_function"]


def _taken_apart(program: Program) -> Any:
    """The program in core operators; the program itself where it has no such form."""
    try:
        with quiet():
            return program.exported.run_decompositions()
    except Exception:
        return program.exported
