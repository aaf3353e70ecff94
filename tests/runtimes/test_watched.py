import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.report import Operator
from minuet.contracts.runtime import Watcher
from minuet.contracts.tensors import Arrays, Signature, TensorSpec
from minuet.export.capture import capture
from minuet.export.to_onnx import export_onnx
from minuet.runtimes.openvino import OpenVinoRuntime
from minuet.runtimes.ort import OrtRuntime
from minuet.runtimes.watched import slowest, stage_times, table_of

WATCHERS: dict[str, Watcher] = {"ort": OrtRuntime(), "openvino": OpenVinoRuntime()}
LEAST = 0.6  # of a run in a CPU's operators; between them are a few microseconds each
MOST = 1.05  # clocks are read one after another
UNITS = {"ort": "CPUExecutionProvider", "openvino": "CPU"}
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


def ran(name: str, ms: float, **more: Any) -> Operator:
    words: dict[str, Any] = {"kind": "Op", "unit": "CPU"} | more
    return Operator(name=name, p50_ms=ms, **words)


def test_operators_of_no_stage_are_counted_as_other() -> None:
    runs = [
        (10.0, [ran("conv", 4.0), ran("conv_nchwc", 1.0), ran("Reorder", 2.0)]),
        (9.0, [ran("add", 5.0)]),
    ]
    found = stage_times(runs, {"conv": "first", "add": "last", "sub": "never"})
    assert found.stages_ms == {"first": (5.0, 0.0), "last": (0.0, 5.0), "other": (2.0, 0.0)}
    assert found.total_ms == (10.0, 9.0)


def test_a_stage_that_an_operator_knows_is_kept() -> None:
    found = stage_times([(3.0, [ran("Reorder", 2.0, stage="last")])], {"add": "last"})
    assert found.stages_ms == {"last": (2.0,)} and found.operators[0].stage == "last"


def test_an_operator_is_told_with_its_median_and_the_work_of_all_that_bear_its_name() -> None:
    loop = [ran("step", 1.0, macs=5.0, moved_bytes=8.0), ran("step", 2.0, macs=5.0)]
    runs = [(9.0, [*loop, ran("once", 1.0)]), (9.0, loop), (9.0, loop)]
    step, once = stage_times(runs, {}).operators
    assert (step.name, step.p50_ms, step.macs) == ("step", 3.0, 10.0)
    assert step.moved_bytes is None, "of one of them it is not known"
    assert (once.name, once.p50_ms) == ("once", 0.0), "in most runs its branch was not taken"


def test_many_operators_are_told_as_the_slowest_and_a_rest_that_adds_up() -> None:
    rows = [ran(f"op{at}", float(at), macs=1.0, unit=f"unit{at % 2}") for at in range(10)]
    found = slowest(rows, 4)
    assert [row.name for row in found[:4]] == ["op9", "op8", "op7", "op6"]
    rest = {row.unit: (row.name, row.p50_ms, row.macs) for row in found[4:]}
    assert rest == {"unit0": ("3 others", 6.0, 3.0), "unit1": ("3 others", 9.0, 3.0)}
    assert sum(row.p50_ms for row in found) == sum(row.p50_ms for row in rows)


@pytest.mark.parametrize("name", WATCHERS)
def test_operators_say_where_they_ran_in_which_stage_and_what_they_had_to_do(
    name: str, exported: tuple[Path, Artifact]
) -> None:
    found = WATCHERS[name].stages(*exported, SIGNATURE, INPUTS, runs=1, threads=1)
    convs = [one for one in found.operators if one.macs]
    assert [one.stage for one in sorted(convs, key=lambda one: one.stage)] == [
        "quick",
        *["slow"] * 9,
    ]
    assert {one.macs for one in convs} == {16 * 16 * 9 * 96 * 96}
    assert {one.unit for one in convs} == {UNITS[name]} and {one.dtype for one in convs} == {"fp32"}
    times = [one.p50_ms for one in found.operators]
    assert times == sorted(times, reverse=True) and not found.untimed
    spent = sum(value for values in found.stages_ms.values() for value in values)
    assert sum(times) == pytest.approx(spent)


class Falling(nn.Module):
    """A convolution, and a running sum for which OpenVINO's processor plugin has a plain loop."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(torch.cumsum(self.conv(x), dim=3))
        return found


def test_an_operator_that_falls_off_is_told_with_its_unit(tmp_path: Path) -> None:
    artifact = export_onnx(capture(Falling(), INPUTS, SIGNATURE), tmp_path)
    found = OpenVinoRuntime().stages(tmp_path, artifact, SIGNATURE, INPUTS, runs=2, threads=1)
    assert {one.kind for one in found.operators if one.unit == "CPU ref"} == {"CumSum"}
    assert {"CPU"} == {one.unit for one in found.operators if one.macs}
