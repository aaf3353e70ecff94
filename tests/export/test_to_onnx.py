"""ONNX files are reproducible, bare, and in the precision that was asked for."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.capture import Program, capture
from minuet.export.halve import delicate_nodes
from minuet.export.to_onnx import adopt_onnx, export_onnx, half, onnx_graph
from minuet.runtimes.ort import OrtRuntime
from tests.standin import signature


def load(folder: Path, artifact: Artifact) -> onnx.ModelProto:
    return onnx.load(str(folder / artifact.entry))


def test_the_same_program_gives_the_same_bytes(
    program: Program, onnx_fp32: tuple[Path, Artifact], tmp_path: Path
) -> None:
    assert export_onnx(program, tmp_path).files == onnx_fp32[1].files


@pytest.mark.parametrize("consumer", ["onnxruntime", "tensorrt"])
def test_a_program_is_rewritten_before_it_is_translated(consumer: str) -> None:
    class Looks(torch.nn.Module):
        """At a single token, which is the answer whatever the question."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            token = x.mean(2, keepdim=True)
            return torch.nn.functional.scaled_dot_product_attention(x, token, token).sin()

    def spec(name: str) -> TensorSpec:
        return TensorSpec(name=name, axes="BHND", shape=(1, 2, 8, 4), dtype="float32")

    given = {"x": np.random.default_rng(0).standard_normal((1, 2, 8, 4), np.float32)}
    program = capture(Looks(), given, Signature(inputs=(spec("x"),), outputs=(spec("y"),)))
    kinds = {node.op_type for node in onnx_graph(program, consumer=consumer)[0].graph}
    assert "Sin" in kinds and not kinds & {"Softmax", "MatMul", "Attention"}


def test_a_file_names_no_source_code(onnx_fp32: tuple[Path, Artifact]) -> None:
    data = (onnx_fp32[0] / onnx_fp32[1].entry).read_bytes()
    assert b".py" not in data and b"standin" not in data and b"pkg.torch" not in data


def test_inputs_and_outputs_are_the_signatures_own(onnx_fp32: tuple[Path, Artifact]) -> None:
    graph = load(*onnx_fp32).graph
    for specs, values in (
        (signature(128).inputs, graph.input),
        (signature(128).outputs, graph.output),
    ):
        for spec, value in zip(specs, values, strict=True):
            kind = value.type.tensor_type
            assert value.name == spec.name
            assert tuple(d.dim_value for d in kind.shape.dim) == spec.shape
            assert onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) == np.dtype(spec.dtype)


def test_an_artifact_says_its_opset_and_its_bytes(onnx_fp32: tuple[Path, Artifact]) -> None:
    folder, artifact = onnx_fp32
    assert artifact.requires["opset"] == "18"
    assert artifact.size == sum(path.stat().st_size for path in folder.glob("onnx-fp32/*"))
    assert artifact.entry == "onnx-fp32/model.onnx"


def test_half_keeps_the_signature_and_halves_the_weights(
    onnx_fp32: tuple[Path, Artifact],
) -> None:
    whole = load(*onnx_fp32)
    halved = half(whole)
    assert [v.type for v in halved.graph.input] == [v.type for v in whole.graph.input]
    assert [v.type for v in halved.graph.output] == [v.type for v in whole.graph.output]
    weights = {c.name: c.data_type for c in halved.graph.initializer if "conv.weight" in c.name}
    assert weights and set(weights.values()) == {onnx.TensorProto.FLOAT16}
    onnx.checker.check_model(halved, full_check=True)


def test_coordinates_stay_single_precision_in_a_half_model(
    onnx_fp32: tuple[Path, Artifact],
) -> None:
    halved = onnx.shape_inference.infer_shapes(half(load(*onnx_fp32)))
    kinds = {v.name: v.type.tensor_type.elem_type for v in halved.graph.value_info}
    grids = [node.input[1] for node in halved.graph.node if node.op_type == "GridSample"]
    assert grids and all(kinds[name] == onnx.TensorProto.FLOAT for name in grids)


def test_the_walk_from_coordinates_stops_at_the_network(
    onnx_fp32: tuple[Path, Artifact],
) -> None:
    model = load(*onnx_fp32)
    kinds = {node.name: node.op_type for node in model.graph.node}
    found = {kinds[name] for name in delicate_nodes(ir.from_proto(model), "fp16")}
    assert "Add" in found and not found & {"Conv", "Gemm", "MatMul", "Softmax"}


def test_phases_stay_single_precision_in_a_half_model(tmp_path: Path) -> None:
    """A step of float16 next to 712.4 is a half: 0.05 of a right angle of the first phase."""

    class Told(torch.nn.Module):
        def forward(self, t: torch.Tensor) -> torch.Tensor:
            phase = (t * 1000) * torch.tensor([1.0, 0.1, 0.01])
            return torch.cat([phase.sin(), phase.cos()])

    t = TensorSpec(name="t", axes="B", shape=(1,), dtype="float32")
    told = TensorSpec(name="told", axes="D", shape=(6,), dtype="float32")
    given = {"t": np.array([0.7124], np.float32)}
    program = capture(Told(), given, Signature(inputs=(t,), outputs=(told,)))
    artifact = export_onnx(program, tmp_path, "fp16")
    with OrtRuntime().open(tmp_path, artifact, program.signature) as session:
        found = session.run(given)["told"]
    phase = 712.4 * np.array([1.0, 0.1, 0.01])
    np.testing.assert_allclose(found, [*np.sin(phase), *np.cos(phase)], atol=2e-3)


def test_no_weight_is_turned_at_load_and_no_node_does_nothing(
    onnx_fp32: tuple[Path, Artifact],
) -> None:
    graph = load(*onnx_fp32).graph
    stored = {row.name for row in graph.initializer}
    turned = [n for n in graph.node if n.op_type == "Transpose" and n.input[0] in stored]
    assert not turned and not [n for n in graph.node if n.op_type in ("Identity", "Constant")]


def test_equal_constants_of_the_steps_are_one(onnx_fp32: tuple[Path, Artifact]) -> None:
    rows = load(*onnx_fp32).graph.initializer
    said = [(row.data_type, tuple(row.dims), row.raw_data) for row in rows]
    assert len(set(said)) == len(said)


def test_a_reader_gets_its_operator_set(program: Program, tmp_path: Path) -> None:
    artifact = export_onnx(program, tmp_path, consumer="tensorrt", inline_bytes=0)
    assert artifact.requires["opset"] == "21" and artifact.requires["consumer"] == "tensorrt"
    names = [Path(file.path).name for file in artifact.files]
    assert names == ["model.onnx", "model.onnx.data", "rewrites.json"]
    model = load(tmp_path, artifact)
    assert "GroupNormalization" in {node.op_type for node in model.graph.node}


def test_a_model_made_elsewhere_is_taken_bare(
    onnx_fp32: tuple[Path, Artifact], tmp_path: Path
) -> None:
    model = load(*onnx_fp32)
    model.graph.node[0].doc_string = model.doc_string = "/home/someone/secret.py"
    for row in model.graph.initializer:
        row.doc_string = "/home/someone/secret.py"
    onnx.save(model, str(tmp_path / "made.onnx"))
    artifact = adopt_onnx(tmp_path / "made.onnx", tmp_path / "bundle", signature=signature(128))
    assert artifact.name == "onnx-int8"
    assert b"secret" not in (tmp_path / "bundle" / artifact.entry).read_bytes()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made.onnx").write_bytes(b"\x08\x07junk")
    with pytest.raises(RequestError, match="not a sound ONNX model"):
        adopt_onnx(tmp_path / "made.onnx", tmp_path / "bundle")


def test_a_finishing_rewrite_is_in_the_file(program: Program, tmp_path: Path) -> None:
    def finish(model: onnx.ModelProto) -> onnx.ModelProto:
        model.graph.node[-1].name = "finished"
        return model

    artifact = export_onnx(program, tmp_path, finish=finish)
    assert load(tmp_path, artifact).graph.node[-1].name == "finished"
