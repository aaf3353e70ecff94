"""Convolution over video -> convolution over frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft, shape_of
from minuet.export.rewrites.engine import Rule

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import Node

# Shapes: B clips, C channels in, O out, T frames, S frames out, H rows, W columns, K kernel frames.

NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """The arguments of one conv3d; triples are (time, rows, columns)."""

    node: Node
    x_BCTHW: Node
    weight: Node
    bias: Node | None
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int


class FrameConvolutions(Rule):
    """conv3d becomes one conv2d over frames whose channels hold the K frames that the kernel sees.

        y[t] = sum_k W[:, :, k] * x[s t + d k]  =  W' * (x[s t], x[s t + d], ...)

    ExecuTorch's portable kernel takes no 3-D convolution (it fails when it runs, error 0x12), and
    XNNPACK has none. Equal because a sum over kernel frames is a sum over channels. The weight is
    laid out anew, a constant of the same size. Refused: groups, and weights that are not constant.
    """

    name = "convolution by frames"

    def pattern(self, node: Node, draft: Draft) -> Convolution | None:
        if str(node.target) != "aten.conv3d.default":
            return None
        given: dict[str, Any] = dict(zip(NAMES, node.args, strict=False)) | dict(node.kwargs)
        return Convolution(
            node=node,
            x_BCTHW=given["input"],
            weight=given["weight"],
            bias=given.get("bias"),
            stride=_triple(given.get("stride", 1)),
            padding=_triple(given.get("padding", 0)),
            dilation=_triple(given.get("dilation", 1)),
            groups=given.get("groups", 1),
        )

    def check(self, match: Convolution, draft: Draft) -> Refusal | None:
        if match.groups != 1:
            return Refusal(f"{match.node.name}: its channels are in {match.groups} groups")
        if draft.value(match.weight) is None:
            return Refusal(f"{match.node.name}: its weight is not a constant")
        if len(shape_of(match.node)) != 5:
            return Refusal(f"{match.node.name}: it has no axis of clips")
        return None

    def rewrite(self, match: Convolution, draft: Draft) -> Node:
        import torch

        aten = torch.ops.aten
        weight = draft.value(match.weight)
        assert weight is not None
        o, c, k, rows, columns = weight.shape
        flat = weight.detach().permute(0, 2, 1, 3, 4).reshape(o, k * c, rows, columns)
        frames = _frames(match, k, draft)
        y = draft.call(
            *(aten.conv2d.default, frames, draft.constant(flat), match.bias),
            *(match.stride[1:], match.padding[1:], match.dilation[1:]),
        )
        b, _, s, h, w = shape_of(match.node)
        return draft.call(aten.permute.default, draft.reshape(y, (b, s, o, h, w)), [0, 2, 1, 3, 4])


def _frames(match: Convolution, kernel: int, draft: Draft) -> Node:
    """(B * S, K * C, H, W): for each frame out, the frames that its kernel sees."""
    import torch

    aten = torch.ops.aten
    x = _padded(match, draft)
    seen = shape_of(match.node)[2]
    stride, dilation = match.stride[0], match.dilation[0]
    starts = [at * dilation for at in range(kernel)]
    pieces = [
        draft.call(aten.slice.Tensor, x, 2, start, start + stride * (seen - 1) + 1, stride)
        for start in starts
    ]
    together = draft.call(aten.cat.default, pieces, 1) if kernel > 1 else pieces[0]
    b, c, s, h, w = shape_of(together)
    turned = draft.call(aten.permute.default, together, [0, 2, 1, 3, 4])
    return draft.reshape(turned, (b * s, c, h, w))


def _padded(match: Convolution, draft: Draft) -> Node:
    """The input with empty frames before and after."""
    import torch

    if not match.padding[0]:
        return match.x_BCTHW
    b, c, _, h, w = shape_of(match.x_BCTHW)
    dtype = match.x_BCTHW.meta["val"].dtype
    empty: Tensor = torch.zeros(b, c, match.padding[0], h, w, dtype=dtype)
    edge = draft.constant(empty)
    return draft.call(torch.ops.aten.cat.default, [edge, match.x_BCTHW, edge], 2)


def _triple(value: Any) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * 3 if len(values) == 1 else values
