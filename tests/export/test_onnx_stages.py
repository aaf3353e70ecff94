from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.stages import KEY, unpack
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.capture import Program, capture
from minuet.export.onnx_stages import SCOPES, note_stages, stages_of
from minuet.export.to_onnx import export_onnx, onnx_graph

CASES = {
    "a module is a stage, and what follows it belongs to it": (
        [["enc"], ["enc", "enc.a"], [], ["dec"]],
        ["enc", "enc", "enc", "dec"],
    ),
    "before the first and behind the last there is a name too": (
        [[], ["a"], ["b"], [], []],
        ["input", "a", "b", "output", "output"],
    ),
    "a module that is called again is numbered": (
        [["unet"], [], ["unet"], ["vae"]],
        ["unet-1", "unet-1", "unet-2", "vae"],
    ),
    "a wrapper is no stage": (
        [["inner", "inner.a"], ["inner"], ["inner", "inner.b"]],
        ["a", "a", "b"],
    ),
    "what a rule made belongs where it stands, and parts no call": (
        [["a"], None, ["a"], ["b"]],
        ["a", "a", "a", "b"],
    ),
    "the words that tell two paths apart": (
        [["x.words"], ["y.words"], ["blocks.0"], ["blocks.1"]],
        ["x.words", "y.words", "blocks.0", "blocks.1"],
    ),
    "without modules all is one": ([[], None, []], ["input"] * 3),
    "nothing": ([], []),
}


@pytest.mark.parametrize("case", CASES)
def test_stages_follow_the_calls_of_modules(case: str) -> None:
    scopes, stages = CASES[case]
    assert stages_of(scopes) == stages  # type: ignore[arg-type]


def test_a_quantizers_operators_part_no_call() -> None:
    ir = pytest.importorskip("onnx_ir")
    kinds = ["Conv", "QuantizeLinear", "DequantizeLinear", "Conv", "Conv"]
    scopes = ["'', 'a', 'x'", "'', 'q'", "'', 'd'", "'', 'a', 'y'", "'', 'b', 'z'"]
    value = ir.Value(name="x")
    nodes = []
    for at, (kind, scope) in enumerate(zip(kinds, scopes, strict=True)):
        nodes.append(ir.Node("", kind, [value], name=f"node_{at}"))
        nodes[-1].metadata_props[SCOPES] = f"[{scope}]"
    model = ir.Model(ir.Graph([value], [], nodes=nodes), ir_version=10)
    note_stages(model)
    found = [unpack(model.metadata_props[KEY], "here")[str(at)] for at in range(5)]
    assert found == ["a", "a", "a", "a", "b"]


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(torch.relu(self.first(x * 2))) + 1
        return found


@pytest.fixture(scope="module")
def program() -> Program:
    torch.manual_seed(0)
    x = TensorSpec(name="x", axes="BCHW", shape=(1, 3, 8, 8), dtype="float32")
    y = TensorSpec(name="y", axes="BCHW", shape=(1, 2, 6, 6), dtype="float32")
    example = {"x": np.ones((1, 3, 8, 8), np.float32)}
    return capture(Two(), example, Signature(inputs=(x,), outputs=(y,)))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_operator_of_a_file_has_its_stage(program: Program, precision: str) -> None:
    model, _ = onnx_graph(program, precision)
    table = unpack(model.metadata_props[KEY], "here")
    kinds = {"Mul": "input", "Relu": "first", "Add": "output"}
    for node in model.graph:
        if node.op_type in kinds:
            assert table[str(node.name).removeprefix("node_")] == kinds[node.op_type]
    convolutions = [node for node in model.graph if node.op_type == "Conv"]
    stages = [table[str(node.name).removeprefix("node_")] for node in convolutions]
    assert stages == ["first", "second"]
    assert all(not node.metadata_props for node in model.graph)  # the table is all that is left


def test_a_file_with_stages_is_the_same_every_time(program: Program, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        artifact = export_onnx(program, tmp_path / name)
        files.append((tmp_path / name / artifact.entry).read_bytes())
    assert files[0] == files[1] and KEY.encode() in files[0]
    assert b"test_onnx_stages" not in files[0]  # no source file is named
