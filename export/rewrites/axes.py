"""Operators on more axes than a target has -> the same on fewer, with like neighbours as one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft, shape_of
from minuet.export.rewrites.engine import Rule
from minuet.export.rewrites.layout import moves_or_expands

if TYPE_CHECKING:
    from torch.fx import Node

Shape = tuple[int, ...]
# What works along the axes that its second argument says, and treats all others alike.
ALONG = frozenset(
    f"aten.{name}"
    for name in (
        *("select.int", "slice.Tensor", "cat.default", "softmax.int", "log_softmax.int"),
        *("cumsum.default", "mean.dim", "sum.dim_IntList", "amax.default", "amin.default"),
    )
)
STACK = "aten.stack.default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """The operands' axes in groups of neighbours that an operator treats alike."""

    axes: int
    groups: tuple[tuple[int, ...], ...]

    def shape(self, shape: Shape) -> Shape:
        """A shape in groups; axes that are broadcast may be missing at its front."""
        whole = (1,) * (self.axes - len(shape)) + shape
        return tuple(math.prod(whole[axis] for axis in group) for group in self.groups)

    def place(self, axis: int) -> int:
        """The group of an axis."""
        return next(at for at, group in enumerate(self.groups) if axis % self.axes in group)


class FoldAxes(Rule):
    """An operator on more than `rank` axes works on fewer, between reshapes.

    A slice, a sum or a softmax works along some axes and treats all others alike; an element-wise
    operator treats axes alike that the same operands are broadcast along. Neighbours treated alike
    may be one axis, for in row-major order the same elements meet.

    Must hold: static sizes. Refused: operators of another kind, and those whose axes are in more
    than `rank` groups.
    """

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.name = f"operators on {rank} axes"

    def pattern(self, node: Node, draft: Draft) -> Node | None:
        if moves_or_expands(node.target) or not _is_tensor(node):
            return None
        shapes = [shape_of(one) for one in (node, *_operands(node))]
        return node if max(map(len, shapes)) > self.rank else None

    def check(self, match: Node, draft: Draft) -> Refusal | None:
        folding = folding_of(match)
        what = f"{match.name} ({match.target})"
        if folding is None:
            return Refusal(f"{what} treats its axes in a way that is not known")
        if len(folding.groups) > self.rank - (str(match.target) == STACK):
            return Refusal(f"{what} works on {len(folding.groups)} groups of axes")
        return None

    def rewrite(self, match: Node, draft: Draft) -> Node:
        from torch.fx.node import map_arg

        folding = folding_of(match)
        assert folding is not None
        args, kwargs = map_arg(
            (match.args, match.kwargs),
            lambda one: draft.reshape(one, folding.shape(shape_of(one))),
        )
        made = draft.call(match.target, *_with_axes(match, args, folding), **kwargs)
        return draft.reshape(made, shape_of(match))


def folding_of(node: Node) -> Folding | None:
    """How a node's axes fold; None where it is not known how it treats them."""
    shapes = [shape_of(one) for one in _operands(node)]
    count = max(map(len, shapes), default=0)
    kinds = _kinds(node, shapes, count)
    if kinds is None:
        return None
    runs = itertools.groupby(range(count), key=kinds.__getitem__)
    return Folding(axes=count, groups=tuple(tuple(run) for _, run in runs))


def _kinds(node: Node, shapes: Sequence[Shape], count: int) -> list[Any] | None:
    """For each axis, what it has in common with those that it may be one with."""
    import torch

    if str(node.target) == STACK:
        return [axis < _axes_of(node)[0] % (count + 1) for axis in range(count)]
    if str(node.target) in ALONG:
        chosen = {axis % count for axis in _axes_of(node)}
        return [axis in chosen for axis in range(count)] if chosen else None
    if torch.Tag.pointwise in getattr(node.target, "tags", ()):
        return _broadcast([(1,) * (count - len(shape)) + shape for shape in shapes])
    return None


def _broadcast(shapes: Sequence[Shape]) -> list[Any]:
    """Which operands are broadcast along each axis; one of size 1 goes with its neighbour."""
    kinds: list[Any] = []
    for sizes in zip(*shapes, strict=True):
        alike = kinds[-1] if kinds and set(sizes) == {1} else tuple(n == 1 for n in sizes)
        kinds.append(alike)
    return kinds


def _axes_of(node: Node) -> list[int]:
    """The axes that an operator is told to work along; none where it is not told."""
    given: Any = node.args[1] if len(node.args) > 1 else 0
    return [given] if isinstance(given, int) else list(given or ())


def _with_axes(node: Node, args: Sequence[Any], folding: Folding) -> list[Any]:
    """Arguments in which axes are told by their group."""
    if str(node.target) == STACK:
        at = _axes_of(node)[0] % (folding.axes + 1)
        return [args[0], 0 if at == 0 else len(folding.groups) if at == folding.axes else 1]
    if str(node.target) not in ALONG:
        return list(args)
    places = list(dict.fromkeys(folding.place(axis) for axis in _axes_of(node)))
    several = len(args) > 1 and not isinstance(args[1], int)
    return [args[0], places if several else places[0], *args[2:]]


def _operands(node: Node) -> list[Node]:
    return [one for one in node.all_input_nodes if _is_tensor(one)]


def _is_tensor(node: Node) -> bool:
    return hasattr(node.meta.get("val"), "shape")
