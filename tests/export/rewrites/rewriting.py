"""A module, captured and rewritten by one rule, and both programs' outputs in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from minuet.export.rewrites.engine import Log, Rule, apply


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """Before and after."""

    before: ExportedProgram
    after: ExportedProgram
    log: Log
    inputs: tuple[Tensor, ...]

    def assert_equal(self, tolerance: float = 1e-12) -> None:
        """Same outputs, for the inputs of the capture and for others."""
        for seed in range(2):
            rng = torch.Generator().manual_seed(seed)
            given = [
                torch.randn(x.shape, generator=rng, dtype=x.dtype) if x.is_floating_point() else x
                for x in self.inputs
            ]
            wanted, found = self.before.module()(*given), self.after.module()(*given)
            torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)

    def count(self, name: str, *, before: bool = False) -> int:
        """Nodes whose operator is named so."""
        graph = (self.before if before else self.after).graph
        return sum(name in str(n.target) for n in graph.nodes if n.op == "call_function")

    @property
    def length(self) -> tuple[int, int]:
        """Operators before and after."""
        return self.count("", before=True), self.count("")

    @property
    def rank(self) -> int:
        """The most axes of any tensor afterwards."""
        values = (node.meta.get("val") for node in self.after.graph.nodes)
        return max(value.ndim for value in values if isinstance(value, Tensor))


class Lambda(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., object], **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, *inputs: Tensor) -> object:
        """The function; with parts, it gets the module first."""
        own = bool(self._modules or self._buffers)
        return self.function(self, *inputs) if own else self.function(*inputs)


def rewriting(
    function: Callable[..., object], inputs: tuple[Tensor, ...], *rules: Rule, **parts: nn.Module
) -> Rewriting:
    """Capture a function of float64 tensors, and apply rules."""
    module = Lambda(function, **parts).double().eval()
    before = torch.export.export(module, inputs, strict=False)
    after, log = apply(before, rules)
    return Rewriting(before=before, after=after, log=log, inputs=inputs)


def random(*shape: int) -> Tensor:
    """Float64 noise."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
