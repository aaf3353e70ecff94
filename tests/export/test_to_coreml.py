"""Core ML packages are reproducible and give float frames."""

from pathlib import Path

import numpy as np
import pytest
import torch

from minuet.contracts.artifact import Artifact
from minuet.export.capture import Program
from minuet.export.shims_coreml_9_0 import group_norm
from minuet.export.to_coreml import export_coreml, float_outputs
from tests.standin import example


@pytest.fixture(scope="module")
def packages(
    program: Program, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Path, Artifact]]:
    folders = [tmp_path_factory.mktemp("coreml") for _ in range(2)]
    return [(folder, export_coreml(program, folder)) for folder in folders]


def test_the_same_program_gives_the_same_bytes(packages: list[tuple[Path, Artifact]]) -> None:
    (_, first), (_, second) = packages
    assert first.files == second.files


def test_a_package_is_an_ml_program_with_the_signatures_names(
    packages: list[tuple[Path, Artifact]],
) -> None:
    from coremltools.models.utils import load_spec

    folder, artifact = packages[0]
    described = load_spec(str(folder / artifact.entry))
    assert described.WhichOneof("Type") == "mlProgram"
    assert [i.name for i in described.description.input] == ["image", "tokens", "noise"]
    (frames,) = described.description.output
    assert frames.name == "frames"
    assert frames.type.multiArrayType.dataType == 65568  # float32


def test_a_package_holds_only_what_its_index_knows(packages: list[tuple[Path, Artifact]]) -> None:
    names = {Path(file.path).name for file in packages[0][1].files}
    assert names == {"Manifest.json", "model.mlmodel", "weight.bin"}


def test_half_precision_halves_the_weights(
    program: Program, packages: list[tuple[Path, Artifact]], tmp_path: Path
) -> None:
    def weights(artifact: Artifact) -> int:
        return next(f.bytes for f in artifact.files if f.path.endswith("weight.bin"))

    whole = weights(export_coreml(program, tmp_path, "fp32"))
    assert 0.45 * whole < weights(packages[0][1]) < 0.75 * whole


def test_frames_are_float_before_core_ml_sees_them(program: Program) -> None:
    inputs = [torch.from_numpy(value) for value in example(128).values()]
    with torch.inference_mode():
        floats = float_outputs(program.exported).module()(*inputs)
        frames = program.exported.module()(*inputs)
    assert floats.dtype == torch.float32
    assert torch.equal(floats.to(torch.uint8), frames)


@pytest.mark.parametrize("shape", [(2, 8, 3, 5), (1, 8, 2, 3, 4)])
def test_group_norm_without_deep_reshapes_is_group_norm(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = (
        torch.from_numpy(rng.standard_normal(s).astype(np.float32)) for s in (shape, (8,), (8,))
    )
    expected = torch.nn.functional.group_norm(x, 4, weight, bias, 1e-5)
    torch.testing.assert_close(group_norm(x, 4, weight, bias, 1e-5), expected)
