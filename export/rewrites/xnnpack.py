"""Operators that XNNPACK leaves to portable kernels -> operators that it takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft, shape_of
from minuet.export.rewrites.engine import Rule

if TYPE_CHECKING:
    from torch.fx import Node


class TensorOperands(Rule):
    """A number beside a tensor becomes a constant of the tensor's dtype.

    ExecuTorch would keep it as a float64 constant and cast that at every run; each such cast
    is a kernel of its own in front of a delegate (22 of 35 in a one-step sticker program).

    Equal because PyTorch computes `tensor + number` in the tensor's dtype, if the tensor is
    floating (torch docs, type promotion: a number does not raise a dtype of its own kind).
    Refused: integer tensors, whose result may be floating, and `alpha` other than 1.
    """

    name = "numbers as tensors"

    def pattern(self, node: Node, draft: Draft) -> Node | None:
        name = str(node.target)
        if name in ("aten.rsub.Scalar", *BINARY) and isinstance(node.args[1], (int, float)):
            return node
        return None

    def check(self, match: Node, draft: Draft) -> Refusal | None:
        if len(match.args) > 2 or match.kwargs:
            return Refusal(f"{match.name}: a scaled operand")
        if not _floating(match.args[0]) or not _floating(match):
            return Refusal(f"{match.name}: integers")
        return None

    def rewrite(self, match: Node, draft: Draft) -> Node:
        import torch

        x, number = match.args
        value = _number(number, match, draft)
        if str(match.target) == "aten.rsub.Scalar":
            return draft.call(torch.ops.aten.sub.Tensor, value, x)
        target = BINARY[str(match.target)]
        return draft.call(getattr(torch.ops.aten, target).Tensor, x, value)


BINARY = {
    f"aten.{name}.{overload}": name
    for name in ("add", "sub", "mul", "div")
    for overload in ("Tensor", "Scalar")
}


class TanhGelu(Rule):
    """The form of GELU with a tanh is written out, with a sigmoid.

        gelu(x) = x (1 + tanh u) / 2 = x sigmoid(2 u),  u = sqrt(2 / pi) (x + 0.044715 x^3)

    Hendrycks and Gimpel 2016 (arXiv 1606.08415), sec. 2. XNNPACK's delegate takes the operator and
    computes the form with erf, up to 4.7e-4 away: executorch 1.4.1 does not hand on which one was
    asked for. Refused: nothing; the form with erf is not a match.
    """

    name = "gelu with tanh"

    def pattern(self, node: Node, draft: Draft) -> Node | None:
        wanted = str(node.target) == "aten.gelu.default"
        return node if wanted and node.kwargs.get("approximate") == "tanh" else None

    def check(self, match: Node, draft: Draft) -> Refusal | None:
        return None

    def rewrite(self, match: Node, draft: Draft) -> Node:
        import torch

        aten, (x,) = torch.ops.aten, match.args
        slope = 2 * math.sqrt(2 / math.pi)
        first, third = (_number(one, match, draft) for one in (slope, slope * 0.044715))
        bent = draft.call(aten.mul.Tensor, draft.call(aten.mul.Tensor, x, x), third)
        twice = draft.call(aten.mul.Tensor, x, draft.call(aten.add.Tensor, bent, first))
        return draft.call(aten.mul.Tensor, x, draft.call(aten.sigmoid.default, twice))


class Slices(Rule):
    """One piece of a `chunk` or `split` becomes a slice of the whole.

    Equal because the pieces of a split are the successive ranges of its axis. XNNPACK takes static
    slices and no splits. Refused: nothing; sizes are static.
    """

    name = "pieces as slices"

    def pattern(self, node: Node, draft: Draft) -> Node | None:
        piece = getattr(node.target, "__name__", "") == "getitem"
        return node if piece and str(node.args[0].target) in SPLITS else None  # type: ignore[union-attr]

    def check(self, match: Node, draft: Draft) -> Refusal | None:
        return None

    def rewrite(self, match: Node, draft: Draft) -> Node:
        import torch

        given: Any = match.args
        split, index = given
        axis = _axis(split)
        sizes = [piece.shape[axis] for piece in split.meta["val"]]
        start = sum(sizes[:index])
        end = start + sizes[index]
        return draft.call(torch.ops.aten.slice.Tensor, split.args[0], axis, start, end)


SPLITS = ("aten.chunk.default", "aten.split.Tensor", "aten.split_with_sizes.default")


class PlainReshapes(Rule):
    """`squeeze`, `unsqueeze`, `flatten`, `unflatten` and `select` on one row become reshapes.

    Equal because they keep the elements in their order. XNNPACK takes reshapes only.
    """

    name = "plain reshapes"

    def pattern(self, node: Node, draft: Draft) -> Node | None:
        return node if str(node.target) in RESHAPES and _one_row(node) else None

    def check(self, match: Node, draft: Draft) -> Refusal | None:
        return None

    def rewrite(self, match: Node, draft: Draft) -> Node:
        return draft.reshape(match.args[0], shape_of(match))  # type: ignore[arg-type]


RESHAPES = (
    *("aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims", "aten.unsqueeze.default"),
    *("aten.flatten.using_ints", "aten.unflatten.int", "aten.select.int"),
)


def _one_row(node: Node) -> bool:
    if str(node.target) != "aten.select.int":
        return True
    return shape_of(node.args[0])[node.args[1]] == 1  # type: ignore[arg-type,index]


def _number(number: Any, beside: Node, draft: Draft) -> Node:
    """A constant of a node's dtype that leaves its shape as it is: of one axis, or of none."""
    import torch

    axes = (1,) * min(1, len(shape_of(beside)))
    return draft.constant(torch.full(axes, number, dtype=beside.meta["val"].dtype))


def _axis(split: Any) -> int:
    axis: int = split.kwargs.get("dim", split.args[2] if len(split.args) > 2 else 0)
    rank: int = split.args[0].meta["val"].ndim
    return axis % rank


def _floating(node: Any) -> bool:
    value = node.meta["val"] if hasattr(node, "meta") else None
    return value is not None and bool(value.dtype.is_floating_point)
