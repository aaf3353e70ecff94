"""What coremltools 9.0 lacks for programs of torch 2.13; remove when a newer one has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def register() -> None:
    """Teach the converter `alias`, an operator that only renames. Idempotent."""
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.frontend.torch.ops import _get_inputs
    from coremltools.converters.mil.frontend.torch.torch_op_registry import (
        _TORCH_OPS_REGISTRY,
        register_torch_op,
    )

    if "alias" in _TORCH_OPS_REGISTRY:
        return

    @register_torch_op  # type: ignore[untyped-decorator]
    def alias(context: Any, node: Any) -> None:
        context.add(Builder.identity(x=_get_inputs(context, node)[0], name=node.name))


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Group norm over 4-D tensors: Core ML refuses the 6-D reshape that a 5-D one becomes."""
    import torch

    aten = torch.ops.aten
    return {
        aten.group_norm.default: group_norm,
        aten.native_group_norm.default: native_group_norm,
    }


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Group normalisation in 3-D tensors; Wu and He 2018 (arXiv 1803.08494), eq. 1 and 2."""
    import torch

    flat = x.reshape(x.shape[0], groups, -1)
    centred = flat - flat.mean(-1, keepdim=True)
    scale = torch.rsqrt((centred * centred).mean(-1, keepdim=True) + eps)
    y = (centred * scale).reshape(x.shape[0], x.shape[1], -1)
    if weight is not None:
        y = y * weight.reshape(1, -1, 1)
    if bias is not None:
        y = y + bias.reshape(1, -1, 1)
    return y.reshape(x.shape)


def native_group_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator's three results; the statistics are wanted by training only."""
    mean = x.reshape(N, groups, -1).mean(-1)
    return group_norm(x, groups, weight, bias, eps), mean, mean
