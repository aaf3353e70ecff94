"""Attention -> the form a target runs best, or nothing where it does nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft, shape_of
from minuet.export.rewrites.engine import Rule

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import Node

# Shapes: B clips, h heads, N queries, M keys, D width of a head.

# A forbidden key's score: finite in float16, and exp() of it is 0 beside any score above -29000.
FORBIDDEN = -30000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The arguments of one scaled_dot_product_attention."""

    node: Node
    query: Node  # (B, h, N, D)
    key: Node  # (B, h, M, D)
    value: Node
    mask: Node | None
    dropout: float
    causal: bool
    scale: float
    grouped: bool  # fewer heads of keys than of queries


def attention_at(node: Node) -> Attention | None:
    """The attention that a node computes."""
    if str(node.target) != "aten.scaled_dot_product_attention.default":
        return None
    given: dict[str, Any] = dict(zip(NAMES, node.args, strict=False)) | dict(node.kwargs)
    scale = given.get("scale")
    return Attention(
        node=node,
        query=given["query"],
        key=given["key"],
        value=given["value"],
        mask=given.get("attn_mask"),
        dropout=given.get("dropout_p", 0.0),
        causal=given.get("is_causal", False),
        scale=shape_of(given["query"])[-1] ** -0.5 if scale is None else scale,
        grouped=given.get("enable_gqa", False),
    )


NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


class ExplicitAttention(Rule):
    """softmax(s Q K^T + mask) V as two batched products over 3-D tensors and a plain softmax.

    Vaswani et al. 2017 (arXiv 1706.03762), eq. 1. ExecuTorch would decompose the operator into a
    softmax that is safe against rows in which every key is masked: `eq`, `logical_not`, `any` and
    `where`, none of which XNNPACK takes.

    Equal because such a row cannot occur: there is no mask, or it is a constant that leaves every
    query a key. Refused: a mask that is not constant, a row without a key, dropout, grouped heads,
    other ranks than 4.
    """

    name = "explicit attention"

    def pattern(self, node: Node, draft: Draft) -> Attention | None:
        return attention_at(node)

    def check(self, match: Attention, draft: Draft) -> Refusal | None:
        where = match.node.name
        if match.dropout or match.grouped:
            return Refusal(f"{where}: dropout, or heads that share keys")
        if any(len(shape_of(n)) != 4 for n in (match.query, match.key, match.value)):
            return Refusal(f"{where}: not (batch, heads, tokens, width)")
        if shape_of(match.query)[:2] != shape_of(match.key)[:2]:
            return Refusal(f"{where}: keys are broadcast over the batch")
        if match.mask is None:
            return None
        mask = draft.value(match.mask)
        if mask is None:
            return Refusal(f"{where}: its mask is not constant, and may leave a query without keys")
        allowed = mask if mask.dtype.is_floating_point is False else mask > FORBIDDEN
        if not bool(allowed.any(-1).all()):
            return Refusal(f"{where}: its mask leaves a query without keys")
        return None

    def rewrite(self, match: Attention, draft: Draft) -> Node:
        import torch

        aten = torch.ops.aten
        b, h, n, d = shape_of(match.query)
        m, width = shape_of(match.value)[-2:]
        dtype = match.query.meta["val"].dtype
        scale = draft.constant(torch.tensor([match.scale], dtype=dtype))
        query = draft.call(aten.mul.Tensor, match.query, scale)
        query = draft.reshape(query, (b * h, n, d))
        key = draft.call(aten.transpose.int, draft.reshape(match.key, (b * h, m, d)), 1, 2)
        scores = draft.call(aten.bmm.default, query, key)
        mask = self._mask(match, draft)
        if mask is not None:
            scores = draft.reshape(scores, (b, h, n, m))
            scores = draft.call(aten.add.Tensor, scores, draft.constant(mask.to(dtype)))
            scores = draft.reshape(scores, (b * h, n, m))
        weights = draft.call(aten.softmax.int, scores, -1)
        seen = draft.call(aten.bmm.default, weights, draft.reshape(match.value, (b * h, m, width)))
        return draft.reshape(seen, (b, h, n, width))

    def _mask(self, match: Attention, draft: Draft) -> Tensor | None:
        import torch

        n, m = shape_of(match.query)[-2], shape_of(match.key)[-2]
        mask = draft.value(match.mask) if match.mask is not None else None
        if match.causal:
            mask = torch.ones(n, m, dtype=torch.bool).tril()
        if mask is None:
            return None
        if not mask.dtype.is_floating_point:
            mask = torch.zeros(mask.shape).masked_fill(~mask, -math.inf)
        return mask.clamp(min=FORBIDDEN).reshape((1,) * (4 - mask.ndim) + mask.shape)


class OneKey(Rule):
    """Attention to a single key is that key's value, whatever the query.

    Equal because a softmax over one score is 1, whatever the score (it must be finite: with no
    mask, or a constant one that is finite, it is, wherever queries and keys are). The queries and
    keys are then computed for nothing, and go. Stable Video Diffusion attends to one image token
    in every block. Refused: more keys (not a match), dropout, a mask that is not known.
    """

    name = "attention to one key"

    def pattern(self, node: Node, draft: Draft) -> Attention | None:
        match = attention_at(node)
        return match if match is not None and shape_of(match.key)[-2] == 1 else None

    def check(self, match: Attention, draft: Draft) -> Refusal | None:
        if match.dropout or match.grouped:
            return Refusal(f"{match.node.name}: dropout, or heads that share keys")
        if match.mask is None:
            return None
        mask = draft.value(match.mask)
        if mask is None or not bool((mask if mask.dtype == _bool() else mask.isfinite()).all()):
            return Refusal(f"{match.node.name}: its mask may forbid the only key")
        return None

    def rewrite(self, match: Attention, draft: Draft) -> Node:
        import torch

        shape = shape_of(match.node)
        if shape_of(match.value) == shape:
            return match.value
        return draft.call(torch.ops.aten.expand.default, match.value, list(shape))


def _bool() -> Any:
    import torch

    return torch.bool
