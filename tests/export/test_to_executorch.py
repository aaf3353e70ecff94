"""ExecuTorch files are reproducible, say what an app must link, and load."""

from pathlib import Path

import numpy as np
import pytest
import torch

from minuet.contracts.errors import RequestError, VerdictError
from minuet.contracts.files import read_json
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export import to_executorch
from minuet.export.capture import Program, capture
from minuet.export.quiet import quiet
from minuet.export.to_executorch import export_executorch


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.norm = torch.nn.LayerNorm(8)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(self.conv(image).relu())
        return result


class Wide(torch.nn.Module):
    """Adds in seven axes: XNNPACK would lower that and fail to load it."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        wide = image.reshape(1, 2, 2, 2, 2, 2, 8)
        return torch.tanh(wide + wide).reshape(1, 4, 8, 8)


class Drum(torch.nn.Module):
    """Uses an operator that ExecuTorch has no kernel for."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.special.bessel_j0(image)
        return result


def captured(module: torch.nn.Module) -> Program:
    image = TensorSpec(name="image", axes="BCHW", shape=(1, 4, 8, 8), dtype="float32")
    frames = TensorSpec(name="frames", axes="BCHW", shape=(1, 4, 8, 8), dtype="float32")
    example = torch.rand(1, 4, 8, 8).numpy()
    return capture(module, {"image": example}, Signature(inputs=(image,), outputs=(frames,)))


@pytest.fixture(scope="module")
def small() -> Program:
    return captured(Small())


def test_the_same_program_gives_the_same_bytes(small: Program, tmp_path: Path) -> None:
    first, second = (export_executorch(small, tmp_path / name) for name in "ab")
    assert first.files == second.files


def test_what_xnnpack_left_is_named(small: Program, tmp_path: Path) -> None:
    requires = export_executorch(small, tmp_path).requires
    assert requires["delegates"] == "1"
    assert "aten.native_layer_norm.out x1" in requires["kernels"]


def test_the_table_beside_the_file_adds_up(small: Program, tmp_path: Path) -> None:
    artifact = export_executorch(small, tmp_path)
    table = read_json(tmp_path / "executorch-fp32/delegation.json")
    assert "executorch-fp32/delegation.json" in {file.path for file in artifact.files}
    rows = {row["operator"]: row for row in table["operators"]}
    conv, norm = rows["aten.convolution.default"], rows["aten.native_layer_norm.default"]
    assert (conv["runs_on"], conv["work"]) == ("XnnpackBackend", 4 * 8 * 8 * 4 * 9)
    assert (norm["runs_on"], norm["module"]) == ("portable kernel", "norm")
    total = sum(row["work"] for row in table["operators"])
    assert table["fallback"] == pytest.approx(norm["work"] / total, abs=1e-6)


def test_too_much_left_to_portable_kernels_fails(small: Program, tmp_path: Path) -> None:
    with pytest.raises(VerdictError, match=r"native_layer_norm.default x1 \(norm\)"):
        export_executorch(small, tmp_path, max_fallback=0.001)
    assert not any(tmp_path.iterdir())


def test_too_many_axes_are_refused_before_an_app_would_fail(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"aten\.\w+.* \(Wide\) makes a tensor of 7 axes"):
        export_executorch(captured(Wide()), tmp_path)
    assert not any(tmp_path.iterdir())


def test_an_operator_without_a_kernel_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"could not lower .*aten\.special_bessel_j0"):
        export_executorch(captured(Drum()), tmp_path)


def test_what_cannot_be_loaded_is_not_written(
    small: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = to_executorch._check_loads

    def shortened(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:200])
        check(path)

    monkeypatch.setattr(to_executorch, "_check_loads", shortened)
    with pytest.raises(RequestError, match="could not load what was lowered"):
        export_executorch(small, tmp_path)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_an_unknown_backend_is_refused(small: Program, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="choose from xnnpack, coreml, qnn"):
        export_executorch(small, tmp_path, backend="abacus")


def test_a_backend_without_its_tools_was_not_run(small: Program, tmp_path: Path) -> None:
    from minuet.export.executorch_backends import refused

    if refused("qnn") is None:
        pytest.skip("Qualcomm's tools are here")
    with pytest.raises(RequestError, match="qnn was not run: it needs Qualcomm"):
        export_executorch(small, tmp_path, backend="qnn")


@pytest.mark.parametrize("form", ["tanh", "none"])
def test_either_form_of_gelu_is_computed_as_asked(form: str, tmp_path: Path) -> None:
    """XNNPACK has one of them; the two are up to 4.7e-4 apart."""
    with quiet():
        from executorch.runtime import Runtime

    program = captured(torch.nn.GELU(form))
    image = torch.linspace(-6, 6, 256).reshape(1, 4, 8, 8)
    path = tmp_path / export_executorch(program, tmp_path).entry
    method = Runtime.get().load_program(path).load_method("forward")
    assert method is not None
    (found,) = method.execute([image])
    expected = torch.nn.functional.gelu(image, approximate=form)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-6)


def test_the_file_is_the_module(small: Program, tmp_path: Path) -> None:
    with quiet():
        from executorch.runtime import Runtime

    path = tmp_path / export_executorch(small, tmp_path).entry
    method = Runtime.get().load_program(path).load_method("forward")
    assert method is not None
    (found,) = method.execute(list(small.inputs))
    expected = small.exported.module()(*small.inputs)
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), atol=1e-5)
