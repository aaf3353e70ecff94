"""A fault inside a file is seen where it is: in one component, from one step on, or behind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from minuet.benchmarks.parity_report import Column, side_by_side
from minuet.benchmarks.parity_stages import stages, step_ends
from minuet.benchmarks.parity_trajectory import COMPONENT, STEP, TRAJECTORY
from minuet.contracts.artifact import Artifact
from minuet.contracts.tensors import Array
from minuet.export.capture import Program, capture
from minuet.export.table import exporter
from minuet.export.to_onnx import export_onnx
from minuet.runtimes.table import runtimes_for
from minuet.views import Views
from tests.benchmarks.fewstep import example, fewstep, signature

Seen = set[tuple[str, str, int]]  # scope, component, call or step


@pytest.fixture(scope="module")
def program() -> Program:
    return capture(fewstep(), dict(example()), signature())


@pytest.fixture(scope="module")
def views(program: Program) -> Views:
    return Views(program, example(seed=3))


@pytest.fixture(scope="module")
def clean(program: Program, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    folder = tmp_path_factory.mktemp("clean")
    return folder, export_onnx(program, folder)


def seen(views: Views, folder: Path, artifact: Artifact, runtime: str) -> tuple[Seen, Seen]:
    """Everything that was looked at, and what of it is below its tolerance."""
    one = next(row for row in runtimes_for(artifact.target) if row.name == runtime)
    column = Column(target=artifact.target, precision=artifact.precision, runtime=runtime)
    report = side_by_side("a", "b", {column: views.of(folder, artifact, one)})
    bad = {(row.scope, row.component, row.step) for row, _, _ in report.failures}
    return {(row.scope, row.component, row.step) for row in report.rows}, bad


def broken(clean: tuple[Path, Artifact], folder: Path, name: str) -> tuple[Path, Artifact]:
    """One kernel of the file transposed."""

    def edit(change: Callable[[Array], Array]) -> None:
        model = onnx.load(str(clean[0] / clean[1].entry))
        row = next(one for one in model.graph.initializer if one.name == name)
        new = np.ascontiguousarray(change(numpy_helper.to_array(row)))
        row.CopyFrom(numpy_helper.from_array(new, name))
        (folder / clean[1].entry).parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(folder / clean[1].entry))

    edit(lambda w: w.transpose(0, 1, 3, 2))
    return folder, clean[1]


CALLS = [("denoiser", call) for call in range(4)] + [("decoder", 0)]


def test_components_are_the_first_modules_that_differ_and_calls_are_counted(
    program: Program,
) -> None:
    found = stages(program.exported)
    assert [(stage.component, stage.call) for stage in found] == CALLS
    assert [stage.depth for stage in found] == [5, 5, 5, 5, 1]
    assert all(stage.outputs for stage in found)


def test_a_step_begins_where_the_network_is_called_again(program: Program) -> None:
    ends = step_ends(program.exported)
    assert len(ends) == 3 and all(ends)


def test_an_unharmed_file_passes_in_every_view(views: Views, clean: tuple[Path, Artifact]) -> None:
    every, bad = seen(views, *clean, "ort")
    assert {(COMPONENT, *call) for call in CALLS} | {(TRAJECTORY, *call) for call in CALLS} <= every
    assert {(STEP, "", step) for step in range(4)} <= every and not bad


def test_the_last_component_at_fault_is_the_only_one_that_differs(
    views: Views, clean: tuple[Path, Artifact], tmp_path: Path
) -> None:
    _, bad = seen(views, *broken(clean, tmp_path, "decoder.weight"), "ort")
    assert bad == {(COMPONENT, "decoder", 0), (TRAJECTORY, "decoder", 0), (STEP, "", 3)}


def test_a_component_behind_the_fault_differs_on_the_way_and_not_alone(
    views: Views, clean: tuple[Path, Artifact], tmp_path: Path
) -> None:
    _, bad = seen(views, *broken(clean, tmp_path, "denoiser.middle.weight"), "ort")
    assert {(scope, call) for scope, name, call in bad if name == "denoiser"} == {
        (scope, call) for scope in (COMPONENT, TRAJECTORY) for call in range(4)
    }
    assert (TRAJECTORY, "decoder", 0) in bad and (COMPONENT, "decoder", 0) not in bad
    assert {(STEP, "", step) for step in range(4)} <= bad


@pytest.mark.slow
def test_a_format_that_shows_nothing_is_cut_and_exported_anew(
    views: Views, program: Program, tmp_path: Path
) -> None:
    pytest.importorskip("coremltools")
    artifact = exporter("coreml")(program, tmp_path, "fp32")
    every, bad = seen(views, tmp_path, artifact, "mil")
    assert {(COMPONENT, *call) for call in CALLS} <= every and not bad
