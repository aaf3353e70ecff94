"""What a converter could not take is named, with the module that asked for it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.blame import blame
from minuet.export.capture import Program, capture


class Inner(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.erfinv(x)


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.ReLU(), Inner())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.block(x) + 1
        return made


@pytest.fixture(scope="module")
def program() -> Program:
    x = TensorSpec(name="x", axes="BC", shape=(1, 2), dtype="float32")
    told = Signature(inputs=(x,), outputs=(replace(x, name="y"),))
    return capture(Outer(), {"x": torch.ones(1, 2).numpy()}, told)


@pytest.mark.parametrize(
    "said",
    [
        "No decompositions registered for aten.erfinv.default",
        "Unsupported fx node erfinv",
        "PyTorch convert function for op 'erfinv' not implemented.",
        "there is no aten::erfinv in this opset",
        "prims.erfinv has no such form",
    ],
)
def test_the_operator_and_its_module_are_named(program: Program, said: str) -> None:
    error = RuntimeError("conversion failed")
    error.__cause__ = NotImplementedError(said)
    assert blame(program, error) == "the operator aten.erfinv.default of block.1 (Inner)"


def test_an_error_that_names_no_operator_blames_none(program: Program) -> None:
    assert blame(program, RuntimeError("the disk is full")) == ""
