"""Normalisation -> the form a target fuses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft, shape_of
from minuet.export.rewrites.engine import Rule

if TYPE_CHECKING:
    from torch.fx import Node


class FlatGroupNorm(Rule):
    """Group normalisation over video becomes the same over pictures: (N, C, T, H, W) -> 4 axes.

    Wu and He 2018 (arXiv 1803.08494): the statistics of a group are taken over its channels and
    all places, whose order does not matter, so places may share two axes. Converters write the
    groups as one more axis: from 5 axes they get 6, which Core ML refuses.

    Must hold: static sizes. Refused: 4 axes and fewer are not a match.
    """

    name = "group norm in 4 axes"

    def pattern(self, node: Node, draft: Draft) -> Node | None:
        wanted = str(node.target) == "aten.group_norm.default"
        return node if wanted and len(shape_of(node)) > 4 else None

    def check(self, match: Node, draft: Draft) -> Refusal | None:
        if all(isinstance(size, int) for size in shape_of(match)):
            return None
        return Refusal(f"{match.name}: its sizes are not static")

    def rewrite(self, match: Node, draft: Draft) -> Node:
        n, c, *places, last = shape_of(match)
        x, *others = match.args
        flat = draft.reshape(x, (n, c, math.prod(places), last))  # type: ignore[arg-type]
        made = draft.call(match.target, flat, *others, **match.kwargs)
        return draft.reshape(made, shape_of(match))
