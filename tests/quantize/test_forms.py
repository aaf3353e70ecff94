"""One calibrated recipe in the form of each target computes what the float network computes."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, numpy_helper

from minuet.benchmarks.parity_bisect import names
from minuet.benchmarks.parity_graph import depth
from minuet.benchmarks.tolerances import SNR, computed_in, tolerance
from minuet.contracts.errors import RequestError
from minuet.contracts.files import read_json
from minuet.contracts.tensors import Array, Signature, TensorSpec
from minuet.export.capture import Program, capture
from minuet.export.sources.onnx_file import onnx_part
from minuet.export.to_coreml import export_coreml
from minuet.export.to_onnx import export_onnx
from minuet.export.to_tensorrt import export_tensorrt
from minuet.quantize import onnx_fp8, onnx_w8a16
from minuet.quantize.apply import form_of, quantize_program
from minuet.quantize.calibrate import Ranges, calibrate
from minuet.quantize.scales import affine
from minuet.runtimes.mil.evaluate import evaluate
from minuet.runtimes.mil.package import Operation, load_function
from tests.quantize.tiny import clips, db, network, recipe

SHAPE = (1, 3, 8, 8)
CASES = [one["image"] for one in clips(3, seed=9)]
Files = Callable[[str], Path]


@cache
def program() -> Program:
    image = TensorSpec(name="image", axes="BCHW", shape=SHAPE, dtype="float32")
    made = TensorSpec(name="made", axes="BCHW", shape=SHAPE, dtype="float32")
    return capture(network(), next(clips(1)), Signature(inputs=(image,), outputs=(made,)))


@cache
def ranges() -> Ranges:
    """Wide enough for the cases: what saturates would hide what rounding costs."""
    return calibrate(program().exported.module(), ({"image": one} for one in CASES))


def quantized(scheme: str, target: str, known: Ranges | None = None) -> Program:
    asked = replace(recipe(keep_activations=("film",)), scheme=scheme)
    given = program()
    made = quantize_program(given.exported, given.inputs, asked, known or ranges(), target)
    return replace(given, exported=made)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The folder of one artifact of each kind, written once."""

    @cache
    def write(kind: str) -> Path:
        folder, (target, _, scheme) = tmp_path_factory.mktemp("forms"), kind.partition("-")
        made = quantized(scheme, target)
        if target == "coreml":
            export_coreml(made, folder, scheme)
        elif target == "onnx":
            export_onnx(made, folder, scheme, finish=onnx_w8a16.finish)
        else:
            pytest.importorskip("tensorrt_rtx_bindings")
            finish = onnx_fp8.finish if scheme == "fp8" else None
            export_tensorrt(made, folder, scheme, finish=finish)
        return folder / kind

    return write


def onnx_gives(model: Any, image: Array) -> Array:
    """By the CPU kernels, each operator as it stands."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    one = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    made: Array = one.run(None, {"image": image})[0]
    return made


def gives(folder: Path, image: Array) -> Array:
    if folder.name.startswith("coreml"):
        function = load_function(folder / "model.mlpackage")
        (made,) = evaluate(function, {"image": torch.from_numpy(image)}).values()
        return made.float().numpy()
    return onnx_gives(onnx.load(folder / "model.onnx"), image)


def near(made: Callable[[Array], Array]) -> float:
    """The worst case's distance from the float network, in dB."""
    expected = [network()(torch.from_numpy(one)).numpy() for one in CASES]
    return min(db(e, made(one)) for e, one in zip(expected, CASES, strict=True))


def least(target: str, precision: str) -> float:
    """What parity asks of a program as deep as this one."""
    return tolerance(target, precision, metric=SNR, depth=depth(program().exported)).db


KINDS = ("coreml-int8", "tensorrt-int8", "tensorrt-fp8", "onnx-w8a16")


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_passes_parity_and_is_not_the_float_network(files: Files, kind: str) -> None:
    found = near(lambda image: gives(files(kind), image))
    target, _, precision = kind.partition("-")
    assert least(target, precision) < found < 60


def test_the_file_computes_what_the_quantized_program_says(files: Files) -> None:
    """Their arithmetic is int8 in float's clothes; Core ML's is float16 around it."""
    for kind in ("coreml-int8", "tensorrt-int8"):
        target, _, scheme = kind.partition("-")
        module = quantized(scheme, target).exported.module()
        expected = [module(torch.from_numpy(one))[0].numpy() for one in CASES]
        made = [gives(files(kind), one) for one in CASES]
        assert min(db(e[None], m) for e, m in zip(expected, made, strict=True)) > 30


def test_sixteen_bits_of_activations_are_nearer_than_eight(files: Files) -> None:
    wide = near(lambda image: gives(files("onnx-w8a16"), image))
    eight = quantized("w8a16", "onnx").exported.module()
    narrow = near(lambda image: eight(torch.from_numpy(image))[0][None].numpy())
    assert wide > narrow + 3


@pytest.mark.parametrize("kind", KINDS)
def test_parity_notices_ranges_of_other_tensors(kind: str, tmp_path: Path) -> None:
    """Ranges thirty times too small, as of another network."""
    target, _, precision = kind.partition("-")
    wrong = {key: (low / 30, high / 30) for key, (low, high) in ranges().items()}
    made = quantized(precision, target, wrong).exported.module()
    found = near(lambda image: made(torch.from_numpy(image))[0][None].numpy())
    assert found < least(target, precision)


# --- Core ML -------------------------------------------------------------------------------------


def operations(folder: Path, *kinds: str) -> list[Operation]:
    return [op for op in load_function(folder / "model.mlpackage").walk() if op.kind in kinds]


def test_core_ml_computes_between_pairs_without_zero_points(files: Files) -> None:
    folder = files("coreml-int8")
    into, out = operations(folder, "quantize"), operations(folder, "dequantize")
    layers = 3 * 2  # stem, mlp and out, at each of two steps
    assert len(out) >= len(into) >= layers + 1
    assert not any("zero_point" in op.arguments for op in (*into, *out))
    read = {str(op.arguments["x"]) for op in operations(folder, "conv", "linear")}
    given = {port.name for op in out for port in op.outputs}
    assert len(given & read) == layers


def test_core_ml_of_2023_knows_activations_in_codes(tmp_path: Path) -> None:
    made = quantized("int8", "coreml")
    artifact = export_coreml(made, tmp_path, "int8", ios=17)
    kinds = {op.kind for op in load_function(tmp_path / artifact.entry).walk()}
    assert {"quantize", "dequantize", "constexpr_affine_dequantize"} <= kinds
    with pytest.raises(RequestError, match="int8 needs iOS 17, not 16"):
        export_coreml(made, tmp_path, "int8", ios=16)


# --- TensorRT ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "words"), [("int8", ["int8"] * 2), ("fp8", ["fp8"] * 2)])
def test_the_engine_multiplies_codes_by_codes(files: Files, scheme: str, words: list[str]) -> None:
    """Its builder's word: kernels that read codes, not weights that were unpacked."""
    rows = read_json(files(f"tensorrt-{scheme}") / "layers.json")
    kinds = [row["kind"] for row in rows if row["operands"][:2] == words]
    assert kinds.count("convolution") == 4 and kinds.count("matrix product") == 2


def test_the_file_for_tensorrt_has_no_zero_points_and_float_biases(files: Files) -> None:
    graph = onnx.load(files("tensorrt-int8") / "model.onnx").graph
    constants = {row.name: numpy_helper.to_array(row) for row in graph.initializer}
    pairs = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs and not any(constants[node.input[2]].any() for node in pairs)
    biases = [constants[node.input[2]] for node in graph.node if node.op_type == "Conv"]
    assert {bias.dtype for bias in biases} == {np.dtype(np.float16)}


def test_fp8_is_refused_for_gpus_that_have_none(tmp_path: Path) -> None:
    made = quantized("fp8", "tensorrt")
    with pytest.raises(RequestError, match=r"needs SM89 .*, and SM86 is older; .*--scheme int8"):
        export_tensorrt(made, tmp_path, "fp8", capability="SM86,SM120")


def test_a_file_that_is_int8_already_is_built_as_it_is(files: Files, tmp_path: Path) -> None:
    given = files("tensorrt-int8") / "model.onnx"
    export_tensorrt(onnx_part(given, 0).held, tmp_path, "int8")
    made = onnx.load(tmp_path / "tensorrt-int8/model.onnx").graph
    assert [node.op_type for node in made.node] == [n.op_type for n in onnx.load(given).graph.node]
    rows = read_json(tmp_path / "tensorrt-int8/layers.json")
    assert rows == read_json(given.with_name("layers.json"))


def test_float8_weights_are_the_nearest_there_are_and_shared_by_steps(files: Files) -> None:
    graph = onnx.load(files("tensorrt-fp8") / "model.onnx").graph
    codes = [row for row in graph.initializer if row.data_type == TensorProto.FLOAT8E4M3FN]
    stored = [numpy_helper.to_array(row) for row in codes if len(row.dims) > 1]
    assert sorted(one.shape for one in stored) == [(3, 16, 3, 3), (16, 3, 3, 3), (16, 16)]
    weight = network().stem.weight.numpy()
    scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 448
    found = next(one for one in stored if one.shape == weight.shape).astype(np.float32)
    # e4m3: 2^-3 of a binade between neighbours; half of it is the error, and 2^-10 the least.
    step = 2.0 ** np.maximum(np.floor(np.log2(np.abs(weight / scale) + 1e-9)) - 3, -9)
    assert (np.abs(found - weight / scale) <= step / 2 + 1e-6).all()


def test_a_number_beyond_float8_saturates() -> None:
    weight = np.array([[3.0, -1e-9], [0.0, 0.0]], np.float32)
    codes, scales = onnx_fp8.encode(weight, 0)
    assert codes.astype(np.float32).tolist() == [[448.0, 0.0], [0.0, 0.0]]
    assert scales[0] == np.float32(3 / 448) and scales[1] > 0


# --- w8a16 ---------------------------------------------------------------------------------------


def test_sixteen_bits_have_the_same_ends_as_eight(files: Files) -> None:
    graph = onnx.load(files("onnx-w8a16") / "model.onnx").graph
    constants = {row.name: numpy_helper.to_array(row) for row in graph.initializer}
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    scale, zero = (constants[name] for name in first.input[1:])
    code = affine(*ranges()["stem@0.in"])
    assert zero.dtype == np.uint16
    ends = [float(scale) * (end - int(zero)) for end in (0, 65535)]
    expected = [code.scale * (end - code.zero_point) for end in (-128, 127)]
    assert ends == pytest.approx(expected, rel=1e-5)


def test_codes_of_sixteen_bits_are_not_compared_with_those_of_eight() -> None:
    """Of the search for the first value that differs: only of what they stand for."""
    told = names(quantized("w8a16", "onnx").exported)
    assert any(name.startswith("dequantize_per_tensor") for name in told)
    assert not any(name.startswith("quantize_per_tensor") for name in told)


def test_parity_notices_a_zero_point_that_did_not_move_with_its_codes(files: Files) -> None:
    model = onnx.load(files("onnx-w8a16") / "model.onnx")
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    (row,) = (one for one in model.graph.initializer if one.name == first.input[2])
    signed = numpy_helper.to_array(row) - np.uint16(128 * 257)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(signed), "planted"))
    first.input[2] = "planted"  # and who reads its codes keeps the right one
    assert near(lambda image: onnx_gives(model, image)) < least("onnx", "w8a16")


# --- who is it for -------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "target"), [("w8a16", "coreml"), ("fp8", "onnx")])
def test_a_target_that_a_scheme_is_not_made_for_is_refused(scheme: str, target: str) -> None:
    with pytest.raises(RequestError, match=f"{scheme} is not made for {target}"):
        form_of(scheme, target)
    assert computed_in("tensorrt", "fp8") == "fp8" and computed_in("onnx", "w8a16") == "w8a16"
