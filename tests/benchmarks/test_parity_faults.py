"""Faults planted in real exported files, one at a time, are each caught; the file itself passes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from minuet.benchmarks import parity_graph
from minuet.benchmarks.parity import SAME_DB, Difference, difference, judge
from minuet.benchmarks.parity_rounded import judge_rounded
from minuet.benchmarks.tolerances import LEAST_DB
from minuet.contracts.artifact import Artifact
from minuet.contracts.tensors import Array, Arrays
from minuet.divergence import diverges
from minuet.export.capture import Program, capture
from minuet.export.to_onnx import export_onnx, half
from minuet.runtimes.ort import OrtRuntime
from tests.benchmarks.fewstep import TIMES, example, fewstep, signature, time_bias

LOUD = 1e5  # a norm divides by it at once; float16 ends at 65504


@dataclass(frozen=True, slots=True)
class Case:
    """A program and its file."""

    program: Program
    model: Any
    inputs: Arrays


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Case:
    program = capture(fewstep(), dict(example()), signature())
    folder = tmp_path_factory.mktemp("clean")
    written = export_onnx(program, folder)
    return Case(program, onnx.load(folder / written.entry), example(seed=3))


@pytest.fixture(scope="module")
def int8(clean: Case, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same file with 8-bit weights and activations, by ONNX Runtime's static quantizer."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rows = iter([example(seed) for seed in range(4)])

        def get_next(self) -> Any:
            return next(self.rows, None)

    folder = tmp_path_factory.mktemp("int8")
    onnx.save(clean.model, folder / "float.onnx")
    quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        Reader(),
        per_channel=True,
        op_types_to_quantize=["Conv"],
        activation_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True},
    )
    return onnx.load(folder / "int8.onnx")


def written(folder: Path, model: Any, precision: str) -> Artifact:
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    return Artifact(target="onnx", precision=precision, entry="model.onnx", files=(), requires={})


def differences(case: Case, folder: Path, precision: str = "fp32") -> dict[str, Difference]:
    """Each output against the float64 oracle, as ONNX Runtime gives it."""
    artifact = written(folder, case.model, precision)
    given = tuple(torch.from_numpy(case.inputs[k]) for k in ("noise", "words"))
    oracle = parity_graph.outputs(case.program.exported, given)
    with OrtRuntime().open(folder, artifact, signature(), threads=1) as session:
        found = session.run(case.inputs)
    rows = zip(("latents", "frames"), oracle, strict=True)
    return {name: difference(expected, found[name]) for name, expected in rows}


def verdicts(
    case: Case, folder: Path, precision: str = "fp32", own_db: float | None = None
) -> dict[str, str]:
    """What becomes of them, whatever noise the reference is said to have."""
    artifact = Artifact(target="onnx", precision=precision, entry="", files=(), requires={})
    deep = parity_graph.depth(case.program.exported)
    return {
        name: judge(artifact, "ort", "", one, depth=deep, own_db=own_db).verdict
        for name, one in differences(case, folder, precision).items()
    }


def edited(case: Case, edit: Callable[[Any], None]) -> Case:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    edit(model.graph)
    return replace(case, model=model)


def weight(graph: Any, name: str, change: Callable[[Array], Array]) -> None:
    row = next(one for one in graph.initializer if one.name == name)
    new = np.ascontiguousarray(change(numpy_helper.to_array(row)))
    row.CopyFrom(numpy_helper.from_array(new, name))


def made_by(graph: Any, output: str) -> Any:
    return next(node for node in graph.node if output in node.output)


def behind(graph: Any, value: str, op: str, constant: Array, **attributes: Any) -> None:
    """Put a node with one constant behind a value, for whoever reads it, outputs included."""
    made_by(graph, value).output[:] = [f"{value}.before"]
    graph.initializer.append(numpy_helper.from_array(constant, f"{value}.fault"))
    node = helper.make_node(op, [f"{value}.before", f"{value}.fault"], [value], **attributes)
    place = 1 + next(i for i, n in enumerate(graph.node) if f"{value}.before" in n.output)
    graph.node.insert(place, node)


def transposed_kernel(graph: Any) -> None:
    weight(graph, "denoiser.middle.weight", lambda w: w.transpose(0, 1, 3, 2))


def stale_weights(graph: Any) -> None:
    old = fewstep(seed=1).denoiser.head.weight.detach().numpy()
    weight(graph, "denoiser.head.weight", lambda w: old)


def off_by_one_timestep(graph: Any) -> None:
    """The first step's embedding is folded to a constant: this is what 998 folds to."""
    right, wrong = (time_bias(fewstep(), t) for t in (TIMES[0], TIMES[0] - 1))
    rows = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    name = next(k for k, v in rows.items() if v.shape == right.shape and np.allclose(v, right))
    weight(graph, name, lambda w: wrong)


def wrong_guidance_order(graph: Any) -> None:
    """untold + g (told - untold) becomes told + g (untold - told)."""
    minus, plus = made_by(graph, "sub"), made_by(graph, "add_6")
    told, untold = minus.input
    minus.input[:] = [untold, told]
    plus.input[:] = [told if one == untold else one for one in plus.input]


def missing_normalisation(graph: Any) -> None:
    """The decoder is handed latents that were not divided by their scale."""
    divide = next(n for n in graph.node if n.op_type == "Div" and n.input[0] == "latents")
    for node in graph.node:
        node.input[:] = ["latents" if i == divide.output[0] else i for i in node.input]
    graph.node.remove(divide)


def dropped_alpha(graph: Any) -> None:
    opaque = np.array([0, 0, 0, 255], np.float32).reshape(1, 4, 1, 1)
    behind(graph, made_by(graph, "frames").input[0], "Max", opaque)


def wrong_channel_order(graph: Any) -> None:
    behind(graph, "frames", "Gather", np.array([2, 1, 0, 3]), axis=1)


def nan_in_one_frame(graph: Any) -> None:
    holes = np.zeros((2, 1, 1, 1), np.float32)
    holes[1] = np.nan
    behind(graph, "latents", "Add", holes)


def one_value_is_infinite(graph: Any) -> None:
    holes = np.zeros((1, 1, 16, 16), np.float32)
    holes[..., 3, 4] = np.inf
    behind(graph, "latents", "Add", holes)


FAULTS = [
    transposed_kernel,
    stale_weights,
    off_by_one_timestep,
    wrong_guidance_order,
    missing_normalisation,
    dropped_alpha,
    wrong_channel_order,
    nan_in_one_frame,
    one_value_is_infinite,
]


def test_the_file_as_exported_passes(clean: Case, tmp_path: Path) -> None:
    assert verdicts(clean, tmp_path) == {"latents": "pass", "frames": "pass"}


def test_the_file_in_float16_passes(clean: Case, tmp_path: Path) -> None:
    narrow = replace(clean, model=half(clean.model))
    assert verdicts(narrow, tmp_path, "fp16") == {"latents": "pass", "frames": "pass"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_caught(
    clean: Case, tmp_path: Path, fault: Callable[[Any], None]
) -> None:
    assert "fail" in verdicts(edited(clean, fault), tmp_path).values()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_it_is_caught_within_what_float16_allows(
    clean: Case, tmp_path: Path, fault: Callable[[Any], None]
) -> None:
    narrow = edited(clean, fault)
    narrow = replace(narrow, model=half(narrow.model))
    assert "fail" in verdicts(narrow, tmp_path, "fp16").values()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_no_noise_of_a_reference_excuses_it(
    clean: Case, tmp_path: Path, fault: Callable[[Any], None]
) -> None:
    """As noisy as can be: the least that is ever asked of float32 still refuses every fault."""
    broken = edited(clean, fault)
    assert "fail" in verdicts(broken, tmp_path, own_db=-SAME_DB).values()
    found = differences(broken, tmp_path).values()
    assert any(one.fault or one.db < LEAST_DB[one.metric] - 30 for one in found)


def test_what_a_reference_of_that_noise_excuses_is_rounding(clean: Case, tmp_path: Path) -> None:
    noisy = edited(clean, lambda g: weight(g, "denoiser.head.weight", lambda w: w * (1 + 3e-5)))
    assert verdicts(noisy, tmp_path)["latents"] == "fail"
    assert verdicts(noisy, tmp_path, own_db=97.3)["latents"] == "pass"


def test_float16_is_no_rounding_of_float32(clean: Case, tmp_path: Path) -> None:
    """A file that lost its precision on the way is refused, however noisy its reference."""
    narrow = replace(clean, model=half(clean.model))
    assert "fail" in verdicts(narrow, tmp_path, "fp32", own_db=-SAME_DB).values()


def test_int8_passes_until_two_scales_are_swapped(clean: Case, int8: Any, tmp_path: Path) -> None:
    quantized = replace(clean, model=int8)
    assert verdicts(quantized, tmp_path, "int8") == {"latents": "pass", "frames": "pass"}
    swapped = edited(quantized, swapped_scales)
    for own_db in (None, -SAME_DB):
        assert "fail" in verdicts(swapped, tmp_path, "int8", own_db).values()


def swapped_scales(graph: Any) -> None:
    """The smallest and the largest step between two activations' neighbours change places."""
    scales = {n.input[1] for n in graph.node if n.op_type == "QuantizeLinear"}
    rows = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    scalars = sorted((name for name in scales if rows[name].size == 1), key=lambda k: rows[k])
    low, high = scalars[0], scalars[-1]
    weight(graph, low, lambda _: rows[high])
    weight(graph, high, lambda _: rows[low])


def test_float16_overflow_is_caught_though_this_cpu_does_not_show_it(
    clean: Case, tmp_path: Path
) -> None:
    """Same frames in float32; in float16 a sum is infinite before the norm divides it away."""
    quiet = tuple(clean.program.inputs)
    loud = edited(clean, lambda g: weight(g, "denoiser.middle.weight", lambda w: w * LOUD))
    program = capture(fewstep(loud=LOUD), dict(example()), signature())
    loud = replace(loud, program=program)
    assert verdicts(loud, tmp_path) == {"latents": "pass", "frames": "pass"}
    artifact = written(tmp_path, half(loud.model), "fp16")
    assert judge_rounded(artifact, clean.program.exported, [quiet]).verdict == "pass"
    refused = judge_rounded(artifact, program.exported, [quiet])
    assert refused.verdict == "fail" and "not numbers" in refused.reason
    found = diverges(program, tmp_path, artifact, loud.inputs)
    assert found is not None and found.precision and "denoiser.middle" in found.module
    assert "not numbers" in found.found.fault and "this precision" in str(found)


LAYERS: dict[Callable[[Any], None], str] = {
    transposed_kernel: "denoiser.middle (Conv2d)",
    stale_weights: "denoiser.head (Conv2d)",
}


@pytest.mark.parametrize("fault", LAYERS, ids=lambda fault: fault.__name__)
def test_the_faulty_layer_is_named(
    clean: Case, tmp_path: Path, fault: Callable[[Any], None]
) -> None:
    broken = edited(clean, fault)
    artifact = written(tmp_path, broken.model, "fp32")
    found = diverges(clean.program, tmp_path, artifact, clean.inputs)
    assert found is not None and found.module == LAYERS[fault] and not found.precision
    assert found.op == "Conv" and found.agreed > 3


def test_an_unharmed_file_has_no_first_layer(clean: Case, tmp_path: Path) -> None:
    artifact = written(tmp_path, clean.model, "fp32")
    assert diverges(clean.program, tmp_path, artifact, clean.inputs) is None


def test_a_fault_in_one_value_of_many_is_never_averaged_away() -> None:
    expected = np.ones((100, 100))
    found = expected.copy()
    found[50, 50] = np.nan
    assert difference(expected, found).fault and isinstance(difference(expected, found), Difference)
