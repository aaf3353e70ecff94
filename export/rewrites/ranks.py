"""Long or high-rank chains of reshapes and permutations -> short ones below a rank."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft, shape_of
from minuet.export.rewrites.engine import Rule
from minuet.export.rewrites.layout import Chain, UnfactorableError, chain_to, moves, trace

if TYPE_CHECKING:
    from torch.fx import Node

MOST_ATOMS = 9  # 9! orders are searched at most through two steps; patchify needs 8


@dataclass(frozen=True, slots=True)
class Step:
    """Reshape to `sizes`, then permute by `order`."""

    sizes: tuple[int, ...]
    order: tuple[int, ...]


class FoldMoves(Rule):
    """A chain of moves becomes reshape, permute, reshape, in as few axes as it can have.

    Equal because a chain of moves is a permutation of the source's row-major factors: the factors
    are followed through the chain, neighbours that stay neighbours are one, and the same
    permutation is written down again. Where it has more factors than `rank`, it is written as two
    or more permutations of at most `rank` blocks each.

    Must hold: every reshape in the chain cuts axes only where a factor ends. Refused besides: an
    operator that computes on more than `rank` axes.
    """

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.name = f"moves in {rank} axes"

    def pattern(self, node: Node, draft: Draft) -> list[Node] | None:
        if not moves(node.target):
            return _overfull(node, self.rank)
        if all(user.op == "call_function" and moves(user.target) for user in node.users):
            return None  # the chain goes on
        nodes = chain_to(node, moves)
        return nodes if self._worthwhile(nodes) else None

    def _worthwhile(self, nodes: list[Node]) -> bool:
        if max(len(shape_of(node)) for node in nodes) > self.rank:
            return True
        try:
            return _length(trace(nodes), self.rank) < len(nodes)
        except UnfactorableError:
            return False

    def check(self, match: list[Node], draft: Draft) -> Refusal | None:
        node = match[-1]
        if not moves(node.target) or len(shape_of(node)) > self.rank:
            axes = len(shape_of(node))
            return Refusal(f"{node.name} ({node.target}) hands on {axes} axes to work upon")
        try:
            chain = trace(match)
        except UnfactorableError as error:
            return Refusal(str(error))
        atoms = len(chain.permutation()[1])
        if atoms > MOST_ATOMS:
            return Refusal(f"{node.name} permutes {atoms} factors; at most {MOST_ATOMS} are tried")
        return None

    def rewrite(self, match: list[Node], draft: Draft) -> Node:
        return emit(trace(match), draft, self.rank)


def emit(chain: Chain, draft: Draft, rank: int) -> Node:
    """Write a chain that does not expand: reshape and permute once or more, and reshape."""
    import torch

    node = chain.source
    for step in plan(*chain.permutation(), rank):
        node = draft.reshape(node, step.sizes)
        node = draft.call(torch.ops.aten.permute.default, node, list(step.order))
    return draft.reshape(node, chain.shape)


def plan(sizes: list[int], order: list[int], rank: int) -> list[Step]:
    """Steps of at most `rank` axes that bring blocks of `sizes` into an order.

    One step where the blocks are few enough; else the two that meet in the middle; else one step
    towards the goal, and again.
    """
    start, goal = tuple(range(len(order))), tuple(order)
    if start == goal:
        return []
    if len(order) <= rank:
        return [Step(tuple(sizes), goal)]
    from_start = {reached: step for reached, step in _reachable(start, sizes, rank)}
    if goal in from_start:
        return [from_start[goal]]
    back = _inverse(goal)
    for middle, first in from_start.items():
        # middle -> goal in one step? In middle's own numbering the goal is this order:
        rest = tuple(middle.index(atom) for atom in goal)
        if len(_runs(rest)) <= rank:
            return [first, _step(rest, [sizes[atom] for atom in middle])]
    nearest = min(from_start, key=lambda at: len(_runs(tuple(back[a] for a in at))))
    left = [nearest.index(atom) for atom in goal]
    return [from_start[nearest], *plan([sizes[atom] for atom in nearest], left, rank)]


def _reachable(
    start: tuple[int, ...], sizes: list[int], rank: int
) -> Iterator[tuple[tuple[int, ...], Step]]:
    """Orders that one permutation of `rank` contiguous blocks makes."""
    count = len(start)
    for cuts in itertools.combinations(range(1, count), rank - 1):
        edges = (0, *cuts, count)
        blocks = [tuple(range(a, b)) for a, b in itertools.pairwise(edges)]
        widths = tuple(math.prod(sizes[a:b]) for a, b in itertools.pairwise(edges))
        for order in itertools.permutations(range(rank)):
            yield tuple(atom for at in order for atom in blocks[at]), Step(widths, order)


def _step(order: tuple[int, ...], sizes: list[int]) -> Step:
    """The one permutation of blocks that makes an order."""
    heads = [order[at] for at in _runs(order)]
    starts = sorted(heads)
    widths = [math.prod(sizes[a:b]) for a, b in itertools.pairwise((*starts, len(order)))]
    return Step(tuple(widths), tuple(starts.index(head) for head in heads))


def _runs(order: tuple[int, ...]) -> list[int]:
    """Where blocks of successive atoms begin."""
    return [at for at in range(len(order)) if at == 0 or order[at - 1] != order[at] - 1]


def _inverse(order: tuple[int, ...]) -> list[int]:
    return [order.index(at) for at in range(len(order))]


def _length(chain: Chain, rank: int) -> int:
    """How many nodes `emit` will write."""
    shape, count = shape_of(chain.source), 0
    for step in plan(*chain.permutation(), rank):
        count += 1 + (shape != step.sizes)
        shape = tuple(step.sizes[at] for at in step.order)
    return count + (shape != chain.shape)


def _overfull(node: Node, rank: int) -> list[Node] | None:
    """An operator that computes on too many axes: found to be refused with its name."""
    value: Any = node.meta.get("val")
    return [node] if hasattr(value, "ndim") and value.ndim > rank else None
