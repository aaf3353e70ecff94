"""Core ML packages are reproducible and give float frames."""

from pathlib import Path

import pytest
import torch

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.export.capture import Program
from minuet.export.coreml_convert import float_outputs, formed, insist_axes
from minuet.export.coreml_hazards import hazards
from minuet.export.to_coreml import export_coreml, read_hazards
from minuet.runtimes.mil.package import load_function
from minuet.runtimes.mil.ranges import range_hazards, ranges, value_hazards
from tests.export.coreml import Said, called, captured, packed
from tests.mlpackage import Op, Tensor, write
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
    assert names == {
        *("Manifest.json", "model.mlmodel", "weight.bin"),
        *("hazards.json", "rewrites.json"),
    }


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


class Attending(torch.nn.Module):
    """A layer with a name, attention, and a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Linear(8, 8)

    def forward(self, in_0: torch.Tensor, in_1: torch.Tensor) -> tuple[torch.Tensor]:
        x = self.mix(in_0)
        return (torch.nn.functional.scaled_dot_product_attention(x, x, x) * in_1,)


@pytest.mark.parametrize("ios", [16, 17, 18])
def test_each_release_gets_the_operations_it_has(ios: int, tmp_path: Path) -> None:
    module, x, scale = Attending().eval(), torch.randn(1, 2, 4, 8), torch.tensor(3.0)
    artifact = export_coreml(captured(module, x, scale), tmp_path, "fp32", ios=ios)
    function = load_function(tmp_path / artifact.entry)
    kinds = {op.kind for op in function.walk()}
    assert ("scaled_dot_product_attention" in kinds) == (ios == 18)
    assert artifact.requires["ios"] == str(ios)
    assert artifact.requires["units"] == "cpuAndGPU"
    (found,) = called(function, x, scale)
    torch.testing.assert_close(found, module(x, scale)[0], rtol=1e-4, atol=1e-5)


def test_a_hazard_names_the_module_it_comes_from(tmp_path: Path) -> None:
    module, x, scale = Attending().eval(), torch.randn(1, 2, 4, 8), torch.tensor(3.0)
    artifact = export_coreml(captured(module, x, scale), tmp_path, "fp32")
    found = read_hazards(tmp_path, artifact)
    assert "mix" in {one.module for one in found if one.op == "linear"}
    assert found == hazards(tmp_path / artifact.entry, {"linear": "mix"})


def test_another_release_is_refused(program: Program, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="iOS 15 is not known"):
        export_coreml(program, tmp_path, ios=15)


def test_too_many_axes_are_refused_with_operator_and_module() -> None:
    class Wide(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(1, 2, 3, 2, 2, 2).flip(1).flatten(1)

    class Holding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Wide()

        def forward(self, in_0: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.inner(in_0),)

    form = formed(captured(Holding(), torch.rand(6, 8))).exported
    insist_axes(form, ValueError("of another kind"))
    with pytest.raises(RequestError, match=r"aten.*of inner \(Wide\) gives 6. Fold axes"):
        insist_axes(form, ValueError("Core ML only supports tensors with rank <= 5."))


def test_values_that_overflow_are_written_beside_the_package(tmp_path: Path) -> None:
    loud = captured(Said(lambda x: torch.sqrt((x * 300).square())), torch.ones(1, 4))
    artifact = export_coreml(loud, tmp_path, "fp16", inspect=value_hazards)
    (found,) = read_hazards(tmp_path, artifact)
    assert "float16 overflows: 4 values up to 9e+04" in found.what
    assert found.place and found.fix


def test_what_cannot_be_run_in_half_precision_is_said_so(tmp_path: Path) -> None:
    unknown = [Op(kind="lstm", outputs=[Tensor(name="y", shape=(2,))], inputs={"x": "x"})]
    package = write(tmp_path, [Tensor(name="x", shape=(2,))], unknown, ["y"])
    (found,) = value_hazards(package, {"x": torch.ones(2)})
    assert "not run in float16" in found.what and "'lstm' is not known" in found.what


def test_a_large_magnitude_overflows_in_half_precision_only(tmp_path: Path) -> None:
    def loud(x: torch.Tensor) -> torch.Tensor:
        return torch.sqrt((x * 300).square())

    x = torch.ones(1, 4)
    for precision, finite in (("fp32", True), ("fp16", False)):
        path = packed(tmp_path / precision, Said(loud), x, precision=precision)
        function = load_function(path)
        (found,) = called(function, x)
        assert bool(torch.isfinite(found).all()) == finite
    _, seen = ranges(load_function(tmp_path / "fp32/coreml-fp32/model.mlpackage"), {"in_0": x})
    assert range_hazards(seen)[0].op in ("mul", "square")


def test_phases_stay_single_precision_in_a_half_package(tmp_path: Path) -> None:
    def told(t: torch.Tensor) -> torch.Tensor:
        phase = (t * 1000) * torch.tensor([1.0, 0.1, 0.01])
        return torch.cat([phase.sin(), phase.cos()])

    t = torch.tensor([0.7124])
    (found,) = called(load_function(packed(tmp_path, Said(told), t, precision="fp16")), t)
    torch.testing.assert_close(found, told(t), atol=2e-3, rtol=0)
