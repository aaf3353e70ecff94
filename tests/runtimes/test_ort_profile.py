import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from minuet.runtimes.onnx_weights import weights
from minuet.runtimes.ort_profile import runs_of
from minuet.runtimes.watched import Run

SIDE, CHANNELS = 8, 12
X = np.ones((1, CHANNELS, SIDE, SIDE), np.float32)


def profiled(folder: Path, graph: onnx.GraphProto, runs: int = 2) -> list[Run]:
    """What ONNX Runtime really writes of a model."""
    path = folder / "model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "run")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for _ in range(runs):
        session.run(None, {"x": X})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return runs_of(events, weights(path))


def quantized(name: str, into: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{into}_codes"]),
        helper.make_node("DequantizeLinear", [f"{into}_codes", "scale", "zero"], [into]),
    ]


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(X.shape))


def test_a_convolution_of_codes_has_its_work_though_its_weight_is_packed(tmp_path: Path) -> None:
    codes = np.ones((CHANNELS, CHANNELS, 3, 3), np.int8)
    nodes = [
        *quantized("x", "a"),
        helper.make_node("DequantizeLinear", ["codes", "scale", "even"], ["w"]),
        helper.make_node("Conv", ["a", "w"], ["b"], name="node_conv", pads=[1, 1, 1, 1]),
        *quantized("b", "y"),
    ]
    held = [
        numpy_helper.from_array(codes, "codes"),
        numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
        numpy_helper.from_array(np.array(128, np.uint8), "zero"),
        numpy_helper.from_array(np.array(0, np.int8), "even"),
    ]
    first, second = profiled(
        tmp_path, helper.make_graph(nodes, "g", [value("x")], [value("y")], held)
    )
    assert len(first[1]) == len(second[1]) and second[0] > 0
    (conv,) = (one for one in second[1] if one.kind == "QLinearConv")
    assert conv.macs == SIDE**2 * CHANNELS**2 * 9 and conv.dtype == "int8"
    # Codes in and out, the weight's codes, and a few scales.
    least = 2 * SIDE**2 * CHANNELS + codes.size
    assert conv.moved_bytes is not None and least < conv.moved_bytes < 1.1 * least


def test_what_runs_inside_a_loop_is_counted_once(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "state"], ["next"], name="inner"),
            helper.make_node("Identity", ["on"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("at", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            value("state"),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), value("next")],
    )
    nodes = [helper.make_node("Loop", ["times", "", "x"], ["y"], name="outer", body=body)]
    times = numpy_helper.from_array(np.array(3, np.int64), "times")
    total, found = profiled(
        tmp_path, helper.make_graph(nodes, "g", [value("x")], [value("y")], [times])
    )[-1]
    assert "Loop" not in {one.kind for one in found}
    assert [one.name for one in found if one.kind == "Add"] == ["inner"] * 3
    assert sum(one.p50_ms for one in found) <= total
