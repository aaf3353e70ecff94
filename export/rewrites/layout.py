"""Chains of reshapes, permutations and expansions -> one arrangement of the source's factors."""

# A tensor's elements in row-major order are counted by a sequence of factors ("atoms"), the
# outermost first. Reshapes regroup atoms, and split one where needed; permutations reorder
# groups; expansions add atoms that the source does not have.

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minuet.export.rewrites.draft import shape_of

if TYPE_CHECKING:
    from torch.fx import Node


class Atom:
    """A factor of a tensor's size; it may turn out to be a product."""

    def __init__(self, size: int, repeats: bool = False) -> None:
        self.size = size
        self.repeats = repeats  # its elements are copies of one another
        self.parts: tuple[Atom, ...] = ()

    def leaves(self) -> list[Atom]:
        """What it is made of by now, the outermost first."""
        return [leaf for part in self.parts for leaf in part.leaves()] if self.parts else [self]

    def split(self, outer: int) -> None:
        """Make it the product of `outer` and the rest."""
        self.parts = (Atom(outer, self.repeats), Atom(self.size // outer, self.repeats))


Axes = list[list[Atom]]


class UnfactorableError(Exception):
    """A reshape cuts an axis where no factor ends, as (6, 4) -> (8, 3) does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Moves from a source to a result, and where each atom of the source went."""

    source: Node
    nodes: tuple[Node, ...]  # in order; the last is the result
    origin: tuple[Atom, ...]  # the source's atoms, in its own order
    axes: tuple[tuple[Atom, ...], ...]  # the result's, an axis each

    @property
    def result(self) -> Node:
        """The chain's last node."""
        return self.nodes[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """The result's shape."""
        return tuple(math.prod(atom.size for atom in axis) for axis in self.axes)

    @property
    def expands(self) -> bool:
        """Whether the result holds elements more than once."""
        return any(atom.repeats for axis in self.axes for atom in axis)

    def permutation(self) -> tuple[list[int], list[int]]:
        """The least (sizes, order) so that reshape, permute and reshape make the result.

        Atoms that stay neighbours are one. Only for chains that do not expand.
        """
        place = {id(atom): at for at, atom in enumerate(self.origin)}
        order = [place[id(atom)] for axis in self.axes for atom in axis]
        heads = [at for i, at in enumerate(order) if i == 0 or order[i - 1] != at - 1]
        starts = sorted(heads)
        sizes = [
            math.prod(atom.size for atom in self.origin[start:end])
            for start, end in itertools.pairwise((*starts, len(order)))
        ]
        return sizes, [starts.index(head) for head in heads]


def chain_to(node: Node, known: Callable[[Any], bool]) -> list[Node]:
    """The longest run of known operators that ends in a node."""
    nodes: list[Node] = []
    while node.op == "call_function" and known(node.target):
        nodes.insert(0, node)
        node = node.args[0]  # type: ignore[assignment]
    return nodes


def trace(nodes: Sequence[Node]) -> Chain:
    """Follow the atoms of the first node's input through all nodes.

    Raises:
        UnfactorableError: no common factors.
    """
    from torch.fx import Node as FxNode

    source = nodes[0].args[0]
    assert isinstance(source, FxNode)
    origin: Axes = [[Atom(size)] if size > 1 else [] for size in shape_of(source)]
    axes = [list(axis) for axis in origin]
    for node in nodes:
        axes = STEPS[_name(node.target)](axes, node)
    return Chain(
        source=source,
        nodes=tuple(nodes),
        origin=tuple(leaf for axis in _settled(origin) for leaf in axis),
        axes=tuple(tuple(axis) for axis in _settled(axes)),
    )


def _settled(axes: Axes) -> Axes:
    return [[leaf for atom in axis for leaf in atom.leaves()] for axis in axes]


def _regroup(axes: Axes, node: Node) -> Axes:
    """Row-major reshape to the node's shape."""
    atoms = [leaf for axis in _settled(axes) for leaf in axis]
    made: Axes = []
    for size in shape_of(node):
        axis: list[Atom] = []
        while size > 1:
            atom = atoms.pop(0)
            common = math.gcd(atom.size, size)
            if common < min(atom.size, size):
                raise UnfactorableError(
                    f"{node.name} makes {shape_of(node)} of what has no such factor"
                )
            if common < atom.size:
                atom.split(common)
                atoms.insert(0, atom.parts[1])
                atom = atom.parts[0]
            axis.append(atom)
            size //= atom.size
        made.append(axis)
    return made


def _permute(axes: Axes, node: Node) -> Axes:
    order: Any = node.args[1]
    return [axes[axis] for axis in order]


def _transpose(axes: Axes, node: Node) -> Axes:
    given: Any = node.args[1:3]
    first, second = (axis % len(axes) for axis in given)
    made = list(axes)
    made[first], made[second] = axes[second], axes[first]
    return made


def _same(axes: Axes, node: Node) -> Axes:
    return axes


def _expand(axes: Axes, node: Node) -> Axes:
    shape = shape_of(node)
    axes = [[] for _ in range(len(shape) - len(axes))] + axes
    return [
        axis if axis or size == 1 else [Atom(size, True)]
        for axis, size in zip(axes, shape, strict=True)
    ]


def _repeat(axes: Axes, node: Node) -> Axes:
    times: list[int] = list(node.args[1])  # type: ignore[arg-type]
    axes = [[] for _ in range(len(times) - len(axes))] + axes
    return [([Atom(n, True)] if n > 1 else []) + axis for n, axis in zip(times, axes, strict=True)]


def _interleave(axes: Axes, node: Node) -> Axes:
    axis: Any = node.kwargs.get("dim", node.args[2] if len(node.args) > 2 else None)
    times = node.args[1]
    if axis is None or not isinstance(times, int):
        raise UnfactorableError(f"{node.name} repeats over a flattened tensor")
    made = [list(one) for one in axes]
    made[axis].append(Atom(times, True))
    return made


STEPS: dict[str, Callable[[Axes, Node], Axes]] = {
    **dict.fromkeys(
        (
            *("aten.reshape.default", "aten.view.default", "aten._unsafe_view.default"),
            *("aten.flatten.using_ints", "aten.unflatten.int", "aten.unsqueeze.default"),
            *("aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims"),
        ),
        _regroup,
    ),
    "aten.permute.default": _permute,
    "aten.transpose.int": _transpose,
    "aten.clone.default": _same,
    "aten.contiguous.default": _same,
    "aten.expand.default": _expand,
    "aten.repeat.default": _repeat,
    "aten.repeat_interleave.self_int": _interleave,
}
MOVES = frozenset(STEPS) - {
    "aten.expand.default",
    "aten.repeat.default",
    "aten.repeat_interleave.self_int",
}


def moves(target: Any) -> bool:
    """Whether an operator only moves elements."""
    return _name(target) in MOVES


def moves_or_expands(target: Any) -> bool:
    """Whether an operator moves or repeats elements."""
    return _name(target) in STEPS


def _name(target: Any) -> str:
    return str(target)
