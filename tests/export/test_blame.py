"""What a converter could not take is named, with the module that asked for it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.blame import ADVICE, blame, explained, owner
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
        "Error when translating node %erfinv : [num_users=1]",
        "node erfinv (erfinv) got 1 input(s), expected [4]",
        "In node 2 with name: node_Erfinv_8 and operator: Erfinv: Plugin not found",
        "Operator torch._ops.aten._erfinv.default is not in Core ATen opset",
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


class Spectrum(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = torch.fft.fft(x).real
        return made


def captured(module: nn.Module, meaning: str = "") -> Program:
    x = TensorSpec(name="x", axes="BC", shape=(1, 2), dtype="float32")
    told = Signature(inputs=(x,), outputs=(replace(x, name="y", meaning=meaning),))
    return capture(module, {"x": torch.ones(1, 2).numpy()}, told)


def test_an_operator_that_torch_took_apart_is_found_again() -> None:
    program = captured(nn.Sequential(Spectrum()))
    found = blame(program, RuntimeError("aten._fft_r2c.default is not known"))
    assert found == "the operator aten._fft_r2c.default of 0 (Spectrum)"


def test_complex_numbers_are_blamed_where_nothing_is_named() -> None:
    program = captured(nn.Sequential(Spectrum()))
    assert blame(program, RuntimeError("Plugin not found")) == (
        "the operator aten.fft_fft.default of 0 (Spectrum), which makes complex numbers"
    )


class Bound(nn.Module):
    """Calls a method and no module, as the wrapper of that name does."""

    def __init__(self) -> None:
        super().__init__()
        self.module = Inner()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.module.forward(x)
        return made


def test_our_own_wrapper_is_nobody() -> None:
    program = captured(Bound(), "Inner.forward")
    nodes = [node for node in program.exported.graph.nodes if "erfinv" in str(node.target)]
    assert owner(nodes[0]) == "the module itself"
    assert blame(program, RuntimeError("aten.erfinv")).endswith("of the module (Inner)")


def test_culprit_and_advice_are_said_once_and_without_colours(program: Program) -> None:
    once = explained(program, RuntimeError("\x1b[96mno aten.erfinv\x1b[0m here.\nmore"))
    culprit = blame(program, RuntimeError("aten.erfinv"))
    assert once == f"no aten.erfinv here. It is {culprit}. {ADVICE}"
    assert explained(program, RuntimeError(once)) == once
    assert explained(program, RuntimeError("the disk is full.")) == "the disk is full."
