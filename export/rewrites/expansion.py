"""Work on repeated tensors -> the work once, repeated afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft, shape_of
from minuet.export.rewrites.engine import Rule
from minuet.export.rewrites.layout import (
    Chain,
    UnfactorableError,
    chain_to,
    moves_or_expands,
    trace,
)

if TYPE_CHECKING:
    from torch.fx import Node

LAST = ("aten.linear.default",)  # works along the last axis
CONVOLUTIONS = ("aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default")
CHANNELS = (*CONVOLUTIONS, "aten.group_norm.default")  # works along all axes but the first
POINTWISE = tuple(
    f"aten.{name}.default"
    for name in ("silu", "gelu", "relu", "tanh", "sigmoid", "neg", "sin", "cos", "exp", "_to_copy")
)
NORM = "aten.layer_norm.default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delayed:
    """An operator whose input is repeated."""

    node: Node
    nodes: list[Node]  # the moves and repetitions that make its input


class DelayExpansion(Rule):
    """f(repeat(x)) becomes repeat(f(x)): a caption is projected once, not once a frame.

    Equal because f treats the repeated axes as a batch: `linear` all but the last axis, layer norm
    all but the normalised ones, convolutions and group norm the first, pointwise operators all.
    The repetitions are followed as factors of the axes, so repeat, expand and repeat_interleave,
    with reshapes between them, are one case. Refused: a repetition within an axis that f mixes,
    and reshapes without common factors.
    """

    name = "expansion delayed"

    def pattern(self, node: Node, draft: Draft) -> Delayed | None:
        if _mixed(node) is None or not hasattr(node.args[0], "op"):
            return None
        nodes = chain_to(node.args[0], moves_or_expands)  # type: ignore[arg-type]
        if not nodes or math.prod(shape_of(nodes[-1])) == math.prod(_source_shape(nodes)):
            return None
        return Delayed(node=node, nodes=nodes)

    def check(self, match: Delayed, draft: Draft) -> Refusal | None:
        try:
            chain = trace(match.nodes)
        except UnfactorableError as error:
            return Refusal(str(error))
        mixed = _mixed(match.node)
        assert mixed is not None
        if any(atom.repeats for axis in mixed for atom in chain.axes[axis]):
            return Refusal(f"{match.node.name} ({match.node.target}) mixes a repeated axis")
        if not all(isinstance(size, int) for size in shape_of(match.node)):
            return Refusal(f"{match.node.name}: its sizes are not static")
        return None

    def rewrite(self, match: Delayed, draft: Draft) -> Node:
        chain = trace(match.nodes)
        once = draft.call(
            match.node.target, compact(chain, draft), *match.node.args[1:], **match.node.kwargs
        )
        return repeat(once, chain, shape_of(match.node), draft)


def compact(chain: Chain, draft: Draft) -> Node:
    """The chain's result without its repetitions: as many axes, the repeated ones shorter."""
    from minuet.export.rewrites.ranks import emit

    real = tuple(tuple(atom for atom in axis if not atom.repeats) for axis in chain.axes)
    plain = Chain(source=chain.source, nodes=chain.nodes, origin=chain.origin, axes=real)
    return emit(plain, draft, max(5, len(real)))


def repeat(once: Node, chain: Chain, shape: tuple[int, ...], draft: Draft) -> Node:
    """Repeat a result as the chain repeats: reshape, expand, reshape.

    The axes of `once` are the chain's, or others of the same number where the operator changed
    them; only axes that it did not mix hold repetitions.
    """
    import torch

    thin: list[int] = []
    wide: list[int] = []
    for axis, size in zip(chain.axes, shape_of(once), strict=True):
        if not any(atom.repeats for atom in axis):
            thin.append(size)
            wide.append(size)
            continue
        for repeats, count in _blocks([(atom.repeats, atom.size) for atom in axis]):
            thin.append(1 if repeats else count)
            wide.append(count)
    node = draft.reshape(once, thin)
    node = draft.call(torch.ops.aten.expand.default, node, wide)
    return draft.reshape(node, shape)


def _blocks(atoms: list[tuple[bool, int]]) -> list[tuple[bool, int]]:
    """Neighbours of one kind, multiplied."""
    blocks: list[tuple[bool, int]] = []
    for repeats, size in atoms:
        if blocks and blocks[-1][0] == repeats:
            blocks[-1] = (repeats, blocks[-1][1] * size)
        else:
            blocks.append((repeats, size))
    return blocks


def _mixed(node: Node) -> list[int] | None:
    """The axes that an operator mixes; None for operators that the rule does not know."""
    name = str(node.target)
    rank = len(shape_of(node)) if hasattr(node.meta.get("val"), "shape") else 0
    if name in LAST:
        return [rank - 1]
    if name in CONVOLUTIONS and rank != len(shape_of(node.args[1])):  # type: ignore[arg-type]
        return None  # a single picture: its first axis are channels, not clips
    if name in CHANNELS:
        return list(range(1, rank))
    if name == NORM:
        return list(range(rank - len(node.args[1]), rank))  # type: ignore[arg-type]
    return [] if name in POINTWISE else None


def _source_shape(nodes: list[Node]) -> tuple[int, ...]:
    return shape_of(nodes[0].args[0])  # type: ignore[arg-type]
