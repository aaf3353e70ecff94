"""What becomes of a program on its way into ONNX, and what cannot go there is named."""

from collections.abc import Callable, Sequence
from typing import Any

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
from minuet.export.to_onnx import onnx_graph


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


class Hands(nn.Module):
    """Gives what a function makes of two inputs, a layer and a constant."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function, self.layer = function, nn.Linear(4, 4)
        self.register_buffer("held", torch.arange(8.0).reshape(2, 4))

    def forward(self, x: Tensor, t: Tensor) -> Any:
        return self.function(self, x, t)


EDGES: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "an input": lambda m, x, t: (x.clone(), m.layer(x) + t),
    "inputs, crossed": lambda m, x, t: (t.clone(), x.clone()),
    "one input twice": lambda m, x, t: (x.clone(), m.layer(x) + t, x * 1),
    "one value twice": lambda m, x, t: (y := m.layer(x) + t, y.clone(), y.sin()),
    "constants": lambda m, x, t: (m.layer(x) + t, m.held.clone(), m.held * 2, m.held.clone()),
}


LIKE_WEIGHTS = ("layer.weight", "held", "layer.bias", "linear")


@pytest.mark.parametrize(
    ("what", "outputs"),
    [*((what, "abcd") for what in EDGES), *((what, LIKE_WEIGHTS) for what in list(EDGES)[3:])],
)
def test_an_output_may_be_an_input_a_constant_or_another_output(
    what: str, outputs: Sequence[str]
) -> None:
    import onnxruntime as ort

    module = Hands(EDGES[what])
    rng = np.random.default_rng(0)
    example = {name: rng.random((2, 4), np.float32) for name in "xt"}
    with torch.no_grad():
        expected = [one.numpy() for one in module(*map(torch.from_numpy, example.values()))]
    specs = {
        name: TensorSpec(name=name, axes="BC", shape=(2, 4), dtype="float32")
        for name in ("x", "t", *outputs)
    }
    names = list(outputs)[: len(expected)]
    signature = Signature(
        inputs=(specs["x"], specs["t"]), outputs=tuple(specs[name] for name in names)
    )
    model, _ = onnx_graph(capture(module, example, signature))
    assert [value.name for value in model.graph.inputs] == ["x", "t"]
    assert [value.name for value in model.graph.outputs] == names
    session = ort.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for found, wanted in zip(session.run(names, example), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_an_operator_without_an_onnx_form_is_named_with_its_module() -> None:
    with pytest.raises(RequestError, match=r"airy_ai.* of odd .Odd. has no ONNX form"):
        graph_of(captured(Holder()), 18)
