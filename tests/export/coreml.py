"""A function of tensors -> its program, its package, and what the saved package gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.capture import Program, capture
from minuet.export.to_coreml import export_coreml
from minuet.runtimes.mil.evaluate import Rules, evaluate
from minuet.runtimes.mil.package import Block, load_function

Outputs = tuple[Tensor, ...]


class Said(nn.Module):
    """A module of what a function says."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Outputs:
        found = self.function(*inputs)
        return found if isinstance(found, tuple) else (found,)


def spec(name: str, value: Tensor) -> TensorSpec:
    """A tensor's own description."""
    axes, dtype = "ABCDEFGH"[: value.dim()], str(value.dtype).removeprefix("torch.")
    return TensorSpec(name=name, axes=axes, shape=tuple(value.shape), dtype=dtype)


def described(module: nn.Module, inputs: Outputs) -> Signature:
    """The signature that a module has for these inputs."""
    with torch.no_grad():
        outputs = module(*inputs)
    return Signature(
        inputs=tuple(spec(f"in_{i}", one) for i, one in enumerate(inputs)),
        outputs=tuple(spec(f"out_{i}", one) for i, one in enumerate(outputs)),
    )


def captured(module: nn.Module, *inputs: Tensor) -> Program:
    """A program of in_0, in_1, ... -> out_0, out_1, ..."""
    given = {f"in_{i}": one.detach().numpy() for i, one in enumerate(inputs)}
    return capture(module, given, described(module, inputs))


def packed(folder: Path, module: nn.Module, *inputs: Tensor, **options: Any) -> Path:
    """The package's path."""
    artifact = export_coreml(captured(module, *inputs), folder, **options)
    return folder / artifact.entry


def called(function: Block, *inputs: Tensor, rounding: str = "declared") -> list[Tensor]:
    """The function's outputs in order."""
    given = {f"in_{i}": one for i, one in enumerate(inputs)}
    found = evaluate(function, given, Rules(rounding))
    return [found[name] for name in sorted(found)]


def through_coreml(
    folder: Path, function: Callable[..., Any], *inputs: Tensor, **options: Any
) -> list[tuple[Tensor, Tensor]]:
    """What the saved package gives, beside what eager torch gives."""
    module = Said(function)
    options = {"precision": "fp32", **options}
    saved = load_function(packed(folder, module, *inputs, **options))
    with torch.no_grad():
        return list(zip(called(saved, *inputs), module(*inputs), strict=True))
