"""One tiny stand-in, captured and written once for the whole folder."""

from pathlib import Path

import pytest

from minuet.contracts.artifact import Artifact
from minuet.export.bundle import Golden, seal, write_golden
from minuet.export.capture import Program, capture
from minuet.export.to_onnx import export_onnx
from tests.standin import Standin, example, signature, standin

SIZE = 128


@pytest.fixture(scope="session")
def module() -> Standin:
    return standin(SIZE)


@pytest.fixture(scope="session")
def program(module: Standin) -> Program:
    return capture(module, example(SIZE), signature(SIZE))


@pytest.fixture(scope="session")
def onnx_fp32(program: Program, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    folder = tmp_path_factory.mktemp("onnx")
    return folder, export_onnx(program, folder)


@pytest.fixture
def bundle(onnx_fp32: tuple[Path, Artifact], module: Standin, tmp_path: Path) -> Path:
    """A sealed bundle of one ONNX artifact, one golden case and a card; free to be damaged."""
    import shutil

    import torch

    folder, artifact = onnx_fp32
    path = tmp_path / "bundle"
    shutil.copytree(folder, path)
    inputs = example(SIZE)
    with torch.inference_mode():
        frames = module(*(torch.from_numpy(value) for value in inputs.values())).numpy()
    write_golden(path, [Golden(name="00", inputs=inputs, outputs={"frames": frames})])
    (path / "card.md").write_text("# A stand-in\n")
    seal(
        path,
        name="stand-in",
        family="Standin",
        programs={"main": signature(SIZE)},
        sampler={"steps": 2, "nfe": 2},
        artifacts=[artifact],
        source_sha256="0" * 64,
    )
    return path
