import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.runtime import Watcher
from minuet.contracts.tensors import Arrays, Signature, TensorSpec
from minuet.export.capture import capture
from minuet.export.to_onnx import export_onnx
from minuet.runtimes.openvino import OpenVinoRuntime
from minuet.runtimes.ort import OrtRuntime
from minuet.runtimes.watched import stage_times, table_of

WATCHERS: dict[str, Watcher] = {"ort": OrtRuntime(), "openvino": OpenVinoRuntime()}
LEAST = 0.6  # of a run in a CPU's operators; between them are a few microseconds each
MOST = 1.05  # clocks are read one after another
SAMPLES = {"ort": 5, "openvino": 1}  # of five runs: OpenVINO tells their mean


class Layers(nn.Module):
    """Convolutions in a row, the only work there is."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.rows = nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.rows(x)
        return found


class Pipeline(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quick, self.slow = Layers(1), Layers(9)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.slow(self.quick(x))
        return found


SPEC = TensorSpec(name="x", axes="BCHW", shape=(1, 16, 96, 96), dtype="float32")
SIGNATURE = Signature(
    inputs=(SPEC,),
    outputs=(TensorSpec(name="y", axes="BCHW", shape=(1, 16, 96, 96), dtype="float32"),),
)
INPUTS: Arrays = {"x": np.ones(SPEC.shape, np.float32)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    torch.manual_seed(0)
    bundle = tmp_path_factory.mktemp("watched")
    return bundle, export_onnx(capture(Pipeline(), INPUTS, SIGNATURE), bundle)


@pytest.mark.parametrize("name", WATCHERS)
def test_stages_add_up_to_the_run_and_the_larger_takes_longer(
    name: str, exported: tuple[Path, Artifact]
) -> None:
    watcher = WATCHERS[name]
    found = watcher.stages(*exported, SIGNATURE, INPUTS, runs=5, threads=1)
    assert set(found.stages_ms) - {"other"} == {"quick", "slow"}
    counts = {len(values) for values in (found.total_ms, *found.stages_ms.values())}
    assert counts == {SAMPLES[name]}
    sums = [sum(run) for run in zip(*found.stages_ms.values(), strict=True)]
    shares = [part / whole for part, whole in zip(sums, found.total_ms, strict=True)]
    assert LEAST < statistics.median(shares) < MOST
    quick, slow = (statistics.median(found.stages_ms[stage]) for stage in ("quick", "slow"))
    assert slow > 3 * quick


@pytest.mark.parametrize("name", WATCHERS)
def test_a_file_that_says_nothing_of_stages_is_refused(
    name: str, exported: tuple[Path, Artifact], tmp_path: Path
) -> None:
    import onnx

    bundle, artifact = exported
    model = onnx.load(str(bundle / artifact.entry))
    del model.metadata_props[:]
    (tmp_path / artifact.entry).parent.mkdir()
    onnx.save(model, str(tmp_path / artifact.entry))
    with pytest.raises(RequestError, match="does not say which stages it has; export it anew"):
        WATCHERS[name].stages(tmp_path, artifact, SIGNATURE, INPUTS, runs=1)
    with pytest.raises(DamagedError, match="table of stages is damaged"):
        table_of("no table", "here")


def test_operators_of_no_stage_are_counted_as_other() -> None:
    runs = [(10.0, [("conv", 4.0), ("conv_nchwc", 1.0), ("Reorder", 2.0)]), (9.0, [("add", 5.0)])]
    found = stage_times(runs, {"conv": "first", "add": "last", "sub": "never"})
    assert found.stages_ms == {"first": (5.0, 0.0), "last": (0.0, 5.0), "other": (2.0, 0.0)}
    assert found.total_ms == (10.0, 9.0)
