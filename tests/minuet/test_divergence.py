"""The first wrong layer is found inside saved artifacts, or by exporting cuts of the program."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.benchmarks import parity_graph
from minuet.benchmarks.parity_bisect import first_divergence
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import MissingBackendError
from minuet.contracts.tensors import Array, Signature, TensorSpec
from minuet.divergence import CutProbe, diverges
from minuet.export.capture import Program, capture
from minuet.export.table import exporter
from minuet.runtimes.table import runtimes_for


class Small(nn.Module):
    """Names that decomposition renumbers: a norm between two layers, two sums."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.groups, self.last = nn.GroupNorm(2, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x) + 1
        h = self.groups(self.second(torch.relu(h))) + h
        y: Tensor = self.last(h.mean((2, 3)))
        return y


INPUTS = {"x": np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)}


def captured(module: nn.Module) -> Program:
    x = TensorSpec(name="x", axes="BCHW", shape=(1, 4, 8, 8), dtype="float32")
    y = TensorSpec(name="y", axes="BC", shape=(1, 8), dtype="float32")
    return capture(module, INPUTS, Signature(inputs=(x,), outputs=(y,)))


@pytest.fixture(scope="module")
def module() -> Small:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def program(module: Small) -> Program:
    return captured(module)


@pytest.fixture(scope="module")
def broken(module: Small) -> Program:
    """One kernel transposed before the export; the oracle stays."""
    other = copy.deepcopy(module)
    other.second.weight.data = other.second.weight.data.transpose(2, 3).contiguous()
    return captured(other)


def expected(program: Program) -> Array:
    return parity_graph.outputs(program.exported, program.inputs)[0]


@pytest.mark.parametrize("name", ["onnx-fp32", "coreml-fp16"])
def test_a_saved_artifact_shows_its_first_wrong_layer(
    program: Program, broken: Program, tmp_path: Path, name: str
) -> None:
    target, precision = name.split("-")
    pytest.importorskip({"onnx": "onnxruntime", "coreml": "coremltools"}[target])
    good = exporter(target)(program, tmp_path / "good", precision)
    assert diverges(program, tmp_path / "good", good, INPUTS) is None
    bad = exporter(target)(broken, tmp_path / "bad", precision)
    found = diverges(program, tmp_path / "bad", bad, INPUTS)
    assert found is not None and found.module == "second (Conv2d)" and found.agreed >= 2
    assert "second (Conv2d)" in str(found) and found.op.lower() == "conv"


@pytest.mark.slow
def test_cuts_find_it_where_artifacts_show_nothing(program: Program, broken: Program) -> None:
    pytest.importorskip("executorch")
    runtime = runtimes_for("executorch")[0]

    def search(exported_from: Program) -> object:
        probe = CutProbe(exported_from, runtime, "fp32", INPUTS)
        return first_divergence(program.exported, program.inputs, probe)

    assert search(program) is None
    assert "second (Conv2d)" in str(search(broken))


def test_where_the_backend_cannot_run_that_is_said(program: Program, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("TensorRT runs here")
    engine = Artifact(target="tensorrt", precision="fp32", entry="e", files=(), requires={})
    with pytest.raises(MissingBackendError, match="layers were not compared"):
        diverges(program, tmp_path, engine, INPUTS)
