"""ExecuTorch files are reproducible, say what an app must link, and load."""

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from minuet.contracts.errors import RequestError, VerdictError
from minuet.contracts.files import read_json
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export import to_executorch
from minuet.export.capture import Program, capture
from minuet.export.quiet import quiet
from minuet.export.to_executorch import export_executorch
from tests.export.rewrites.rewriting import Lambda


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


def test_what_was_rewritten_and_what_not_is_kept(tmp_path: Path) -> None:
    kept = Lambda(lambda x: x.long() * 2 + x * 2)
    artifact = export_executorch(captured(kept), tmp_path)
    log = read_json(tmp_path / "executorch-fp32/rewrites.json")
    assert "executorch-fp32/rewrites.json" in {file.path for file in artifact.files}
    assert log["applied"]["numbers as tensors"] == 1
    (refused,) = log["refused"]
    assert refused["rule"] == "numbers as tensors" and "integers" in refused["reason"]


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


def test_an_sdk_that_fails_is_refused_with_what_it_said(
    small: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QNN_SDK_ROOT", str(tmp_path))  # a folder, and no SDK in it
    with pytest.raises(RequestError, match=r"qnn was not run: its tools fail: \w+"):
        export_executorch(small, tmp_path / "out", backend="qnn")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_backend_that_this_runtime_lacks_is_written_and_not_tried(
    small: Program, tmp_path: Path
) -> None:
    pytest.importorskip("coremltools")
    with quiet():
        from executorch.runtime import Runtime
    artifact = export_executorch(small, tmp_path, backend="coreml")
    table = read_json(tmp_path / "executorch-fp32/delegation.json")
    assert {row["runs_on"] for row in table["operators"]} == {"CoreMLBackend"}
    assert (tmp_path / artifact.entry).stat().st_size > 1000
    if not Runtime.get().backend_registry.is_available("CoreMLBackend"):
        assert "no CoreMLBackend" in artifact.requires["loaded"]


def test_a_backend_that_is_here_is_tried(small: Program, tmp_path: Path) -> None:
    assert "loaded" not in export_executorch(small, tmp_path).requires


def test_nothing_that_was_lowered_is_alive_while_the_file_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds every weight once more."""
    check, alive = to_executorch._check_loads, list[str]()
    held = ("NamedDataStoreOutput", "LoweredBackendModule", "EdgeProgramManager", "Cord")

    def living() -> dict[int, str]:
        gc.collect()
        found = ((id(one), type(one).__name__) for one in gc.get_objects())
        return {key: name for key, name in found if name in held}

    before = living()  # of exports that failed, and whose tracebacks are kept

    def counted(path: Path) -> None:
        alive.extend(name for key, name in living().items() if key not in before)
        check(path)

    monkeypatch.setattr(to_executorch, "_check_loads", counted)
    # Two delegates, which are compared with one another: that is what remembers them.
    module = torch.nn.Sequential(Small(), torch.nn.Conv2d(4, 4, 1), torch.nn.LayerNorm(8))
    export_executorch(captured(module), tmp_path)
    assert alive == []


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.stack([1 - x.mean() * 2, x.amin()] * 4) + x,
        lambda x: torch.stack([F.gelu(x.amax(), approximate="tanh"), x.amin()] * 4) + x,
    ],
)
def test_numbers_beside_a_scalar_leave_it_a_scalar(
    function: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    with quiet():
        from executorch.runtime import Runtime

    image = torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    path = tmp_path / export_executorch(captured(Lambda(function)), tmp_path).entry
    method = Runtime.get().load_program(path).load_method("forward")
    assert method is not None
    (found,) = method.execute([image])
    np.testing.assert_allclose(found.numpy(), function(image).numpy(), atol=1e-5)


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
