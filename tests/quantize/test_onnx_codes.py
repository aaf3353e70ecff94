"""An ONNX file of codes computes what the file of rounded weights does, and unpacks at load."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from minuet.contracts.codes import packed_nibbles
from minuet.contracts.tensors import Array
from minuet.quantize import onnx_codes
from minuet.quantize.groups import pack4, pack8
from minuet.quantize.onnx_form import finish

RNG = np.random.default_rng(0)
CONV = RNG.standard_normal((32, 64, 3, 3)).astype(np.float32)
FEW = RNG.standard_normal((64, 4, 3, 3)).astype(np.float32)
LINEAR = RNG.standard_normal((32, 96)).astype(np.float32)
IMAGE = RNG.standard_normal((1, 4, 8, 8)).astype(np.float32)


def model(pack: Any) -> Any:
    """Two convolutions and a matrix that lies transposed."""
    made = {"few": pack(FEW).unpack(), "conv": pack(CONV).unpack()}
    made["linear"] = np.ascontiguousarray(pack(LINEAR.T.copy()).unpack().T)
    nodes = [
        helper.make_node("Conv", ["x", "few"], ["h"], pads=[1] * 4),
        helper.make_node("Conv", ["h", "conv"], ["i"]),
        helper.make_node("Transpose", ["i"], ["j"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["j", "linear"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 6, 96])],
        [numpy_helper.from_array(value, name) for name, value in made.items()],
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    found.ir_version = 9
    return found


def run(proto: Any, optimized: Path | None = None) -> Array:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(optimized or "")
    providers = ["CPUExecutionProvider"]
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=providers)
    found: Array = session.run(None, {"x": IMAGE})[0]
    return found


@pytest.mark.parametrize("pack", [pack4, pack8])
def test_the_weights_come_back_bit_for_bit(pack: Any) -> None:
    proto = finish(model(pack))
    onnx.checker.check_model(proto, full_check=True)
    assert np.array_equal(run(proto), run(model(pack)))


@pytest.mark.parametrize(("pack", "bits"), [(pack4, 4.5), (pack8, 8.0)])
def test_a_file_of_codes_is_as_small_as_its_codes(pack: Any, bits: float) -> None:
    count = CONV.size + FEW.size + LINEAR.size
    size = len(finish(model(pack)).SerializeToString())
    assert size < count * bits / 8 + 5000 and size < 0.35 * len(model(pack).SerializeToString())


@pytest.mark.parametrize("pack", [pack4, pack8])
def test_nothing_is_unpacked_at_run_time(pack: Any, tmp_path: Path) -> None:
    run(finish(model(pack)), tmp_path / "optimized.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert not kinds & {"Cast", "Mul", "Sub", "Floor", "Concat", "DequantizeLinear"}


def test_openvino_folds_it_too() -> None:
    openvino = pytest.importorskip("openvino")
    read = openvino.Core().read_model(finish(model(pack4)).SerializeToString(), b"")
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(read, "CPU", hint)
    kinds = {op.get_rt_info()["layerType"] for op in compiled.get_runtime_model().get_ops()}
    assert not {str(kind) for kind in kinds} & {"Eltwise", "Concatenation", "Subgraph"}
    assert np.allclose(compiled({"x": IMAGE})[0], run(model(pack4)), rtol=1e-4, atol=1e-2)


def test_halves_that_changed_places_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        onnx_codes, "packed_nibbles", lambda codes: np.roll(packed_nibbles(codes), 1)
    )
    wrong, right = run(finish(model(pack4))), run(model(pack4))
    assert np.square(wrong - right).mean() > 0.1 * np.square(right).mean()


def test_weights_that_are_no_codes_stay_as_they_are() -> None:
    class Plain:
        def __init__(self, weight: Array) -> None:
            self.weight = weight

        def unpack(self) -> Array:
            return self.weight

    proto = finish(model(Plain))
    assert {row.data_type for row in proto.graph.initializer} == {TensorProto.FLOAT}
