"""Which layer an operator is timed as, in float and between a quantizer's operators."""

from pathlib import Path

import pytest

from minuet.contracts.stages import KEY, unpack
from minuet.export.onnx_layers import noting_layers
from minuet.export.onnx_stages import ROUNDING, SCOPES
from minuet.export.to_onnx import export_onnx


def test_what_rounds_and_what_follows_belong_to_the_layer_they_are_for() -> None:
    """x -> Q -> DQ -> conv a -> Q -> DQ -> relu -> mean: all but the last are a's."""
    ir = pytest.importorskip("onnx_ir")
    value = ir.Value(name="x")
    nodes, last = [], value
    for at, kind in enumerate((*ROUNDING, "Conv", *ROUNDING, "Relu", "ReduceMean")):
        nodes.append(ir.Node("", kind, [last], name=f"node_{at}"))
        last = nodes[-1].outputs[0]
    nodes[2].metadata_props[SCOPES] = "['', 'net', 'net.a', 'conv']"
    nodes[5].metadata_props[SCOPES] = "['', 'net', 'relu']"
    model = ir.Model(ir.Graph([value], [], nodes=nodes), ir_version=10)
    noting_layers({"net.a", "net.b"})(model)
    found = unpack(model.metadata_props[KEY], "here")
    assert {name: found.get(name) for name in "0123456"} == {
        **dict.fromkeys("012345", "net.a"),
        "6": None,
    }


def test_a_file_says_layers_in_the_place_of_stages(tmp_path: Path) -> None:
    import onnx

    from tests.export.test_onnx_stages import program

    made = program.__wrapped__()  # type: ignore[attr-defined]
    export_onnx(made, tmp_path, note=noting_layers(["first", "second"]))
    model = onnx.load(tmp_path / "onnx-fp32" / "model.onnx")
    (row,) = (prop for prop in model.metadata_props if prop.key == KEY)
    table = unpack(row.value, "here")
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    assert [table[name.removeprefix("node_")] for name in convolutions] == ["first", "second"]
    assert set(table.values()) == {"first", "second"}
