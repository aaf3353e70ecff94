"""A quantized student reaches each target of its scheme through the command line, proved."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.benchmarks.parity import difference
from minuet.benchmarks.tolerances import DEPTHS, allowed
from minuet.export.bundle import load_bundle, read_golden
from minuet.exporting import How, Job
from minuet.models.student import Sampler, Student, load_student, save_student
from minuet.quantize import onnx_form, onnx_fp8, onnx_w8a16
from minuet.quantize.recipe import read_recipe, write_recipe
from minuet.stickers import captions
from tests.models.tiny import denoiser


@pytest.mark.parametrize(
    ("target", "precision", "finish"),
    [
        ("onnx", "int8", onnx_form.finish),
        ("onnx", "w8a16", onnx_w8a16.finish),
        ("onnx", "fp32", None),
        ("tensorrt", "fp8", onnx_fp8.finish),
        ("tensorrt", "int8", None),
        ("coreml", "int8", None),
    ],
)
def test_a_file_is_finished_as_its_scheme_wants(target: str, precision: str, finish: Any) -> None:
    assert How().options(Job(target=target, precision=precision)).get("finish") is finish


def minuet(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    whole = Student(
        network=denoiser(vocabulary=128),
        sampler=Sampler(levels=(1.0, 0.0)),
        tokenizer=captions.tokenizer_json(),
        card="# Tiny\n",
    )
    save_student(whole, folder / "student")
    asked = ("--clips", "16", "--keep-float", "*.out,*.shuffle", "--no-weigh")
    done = minuet("quantize", str(folder / "student"), "-o", str(folder / "q"), *asked)
    assert done.exit_code == 0, done.output
    return folder / "q"


def of_scheme(quantized: Path, scheme: str, out: Path) -> Path:
    """The same calibration under another scheme."""
    stored = read_recipe(quantized, load_student(quantized).sha256)
    shutil.copytree(quantized, out)
    write_recipe(out, replace(stored.recipe, scheme=scheme), stored.ranges, stored.tensors)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "target", "runtime"),
    [
        ("fp8", "tensorrt", ""),  # no GPU: the file that the engine was built from is run
        ("w8a16", "onnx", "ort"),
    ],
)
def test_a_student_is_written_for_the_target_of_a_scheme(
    quantized: Path, tmp_path: Path, scheme: str, target: str, runtime: str
) -> None:
    if target == "tensorrt":
        pytest.importorskip("tensorrt_rtx_bindings")
    folder, bundle = of_scheme(quantized, scheme, tmp_path / "q"), tmp_path / "bundle"
    done = minuet("export", str(folder), "--to", target, "--size", "64", "-o", str(bundle))
    assert done.exit_code == 0, done.output
    (row,) = json.loads((bundle / "manifest.json").read_text())["artifacts"]
    assert (row["target"], row["precision"]) == (target, scheme)
    passed = {one["backend"].split(":")[0] for one in row["parity"] if one["verdict"] == "pass"}
    assert runtime in passed if runtime else tensorrt_file(bundle, scheme) > 0


def tensorrt_file(bundle: Path, precision: str) -> float:
    """What an engine was built from, by the CPU: dB above what parity asks of the deepest."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    model = onnx.load(bundle / f"tensorrt-{precision}" / "model.onnx").SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = []
    for case in read_golden(bundle, load_bundle(bundle)):
        made = session.run(None, {name: np.asarray(one) for name, one in case.inputs.items()})[0]
        one = difference(case.outputs["frames"], made)
        found.append(one.db - allowed(precision, one.metric, DEPTHS[-1]).db)
    return min(found)


def test_a_gpu_without_fp8_is_refused_before_anything_is_read(
    quantized: Path, tmp_path: Path
) -> None:
    folder = of_scheme(quantized, "fp8", tmp_path / "q")
    asked = ("--to", "tensorrt", "--gpu", "SM86", "-o", str(tmp_path / "bundle"))
    done = minuet("export", str(folder), *asked)
    assert done.exit_code == 2 and "fp8 needs SM89" in done.output
    assert "reading" not in done.output and not (tmp_path / "bundle").exists()
