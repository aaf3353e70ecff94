"""What becomes of a program on its way into ONNX, and what cannot go there is named."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.capture import Program, capture
from minuet.export.onnx_graph import graph_of
from minuet.export.shims_torch_2_13 import settled, sparing


def captured(module: nn.Module) -> Program:
    x = TensorSpec(name="x", axes="BC", shape=(2, 4), dtype="float32")
    y = TensorSpec(name="y", axes="BC", shape=(2, 4), dtype="float32")
    example = {"x": np.ones((2, 4), np.float32)}
    return capture(module, example, Signature(inputs=(x,), outputs=(y,)))


class Twice(nn.Module):
    """One linear layer, called by a module of its own, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.inner(self.inner(x).double().float()),)


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = torch.special.airy_ai(x)
        return made


class Holder(nn.Module):
    """Holds what ONNX has no operator for."""

    def __init__(self) -> None:
        super().__init__()
        self.odd = Odd()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.odd(x) + 1,)


class Writes(nn.Module):
    """Changes a value in place."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        y = x * 2
        y[:, 0] = 0
        return (y,)


def test_weights_are_torchs_own_memory() -> None:
    module = Twice()
    model = graph_of(captured(module), 18)
    weights = [v.const_value for v in model.graph.initializers.values()]
    arrays = [w.numpy() for w in weights if w is not None]
    shared = [np.shares_memory(w, module.inner.weight.detach().numpy()) for w in arrays]
    assert any(shared) and len(weights) == 2


def test_a_program_that_onnx_knows_whole_is_not_traced_again() -> None:
    exported = captured(Twice()).exported
    before = [str(node.target) for node in exported.graph.nodes]
    twin = settled(exported, 18)
    assert twin is not exported and twin.run_decompositions({}) is twin
    assert [str(node.target) for node in exported.graph.nodes] == before


class Mixes(nn.Module):
    """Adds whole numbers to floats, and a number to a float."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x * 2 + torch.arange(4),)


@pytest.mark.parametrize(("module", "mixed"), [(Twice(), False), (Mixes(), True)])
def test_promotions_are_looked_for_only_where_there_may_be_some(
    module: nn.Module, mixed: bool
) -> None:
    from torch.onnx._internal.exporter import _fx_passes

    usual = _fx_passes.insert_type_promotion_nodes
    with sparing(settled(captured(module).exported, 18)):
        assert (_fx_passes.insert_type_promotion_nodes is usual) is mixed
    assert _fx_passes.insert_type_promotion_nodes is usual


@pytest.mark.parametrize("module", [Writes(), Holder()])
def test_any_other_program_is_left_to_torch(module: nn.Module) -> None:
    exported = captured(module).exported
    assert settled(exported, 18) is exported


@pytest.mark.parametrize("module", [Twice(), Writes(), Mixes()])
def test_all_ways_give_the_modules_own_numbers(module: nn.Module) -> None:
    import onnxruntime as ort

    data = ir.to_proto(graph_of(captured(module), 18)).SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
    with torch.no_grad():
        expected = module(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=1e-6)


def test_an_operator_without_an_onnx_form_is_named_with_its_module() -> None:
    with pytest.raises(RequestError, match=r"airy_ai.* of odd .Odd. has no ONNX form"):
        graph_of(captured(Holder()), 18)
