"""ExecuTorch files are reproducible and say what an app must link."""

from pathlib import Path

import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.capture import Program, capture
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


@pytest.fixture(scope="module")
def small() -> Program:
    image = TensorSpec(name="image", axes="BCHW", shape=(1, 4, 8, 8), dtype="float32")
    frames = TensorSpec(name="frames", axes="BCHW", shape=(1, 4, 8, 8), dtype="float32")
    example = torch.rand(1, 4, 8, 8).numpy()
    return capture(Small(), {"image": example}, Signature(inputs=(image,), outputs=(frames,)))


def test_the_same_program_gives_the_same_bytes(small: Program, tmp_path: Path) -> None:
    first, second = (export_executorch(small, tmp_path / name) for name in "ab")
    assert first.files == second.files


def test_what_xnnpack_left_is_named(small: Program, tmp_path: Path) -> None:
    requires = export_executorch(small, tmp_path).requires
    assert requires["delegates"] == "1"
    assert "aten.native_layer_norm.out x1" in requires["kernels"]


def test_a_program_that_cannot_be_lowered_is_refused_in_one_message(
    small: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import executorch.exir

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("rank 7")

    monkeypatch.setattr(executorch.exir, "to_edge_transform_and_lower", fail)
    with pytest.raises(RequestError, match="could not lower the program: rank 7"):
        export_executorch(small, tmp_path)
    assert not any(tmp_path.iterdir())
