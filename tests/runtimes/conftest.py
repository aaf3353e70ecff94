"""One tiny stand-in, written once, and what the module itself makes of an example."""

from pathlib import Path

import pytest
import torch

from minuet.contracts.artifact import Artifact
from minuet.contracts.tensors import Array, Arrays, Signature
from minuet.export.capture import Program, capture
from minuet.export.table import exporter
from tests.standin import Standin, example, signature, standin

SIZE = 128


@pytest.fixture(scope="session")
def module() -> Standin:
    return standin(SIZE)


@pytest.fixture(scope="session")
def program(module: Standin) -> Program:
    return capture(module, example(SIZE), signature(SIZE))


@pytest.fixture(scope="session")
def declared() -> Signature:
    return signature(SIZE)


@pytest.fixture(scope="session")
def inputs() -> Arrays:
    return example(SIZE, seed=5)


@pytest.fixture(scope="session")
def expected(module: Standin, inputs: Arrays) -> Array:
    with torch.inference_mode():
        frames: Array = module(*(torch.from_numpy(value) for value in inputs.values())).numpy()
    return frames


Written = dict[str, tuple[Path, Artifact]]


@pytest.fixture(scope="session")
def written() -> Written:
    """What has been written already, by target and precision."""
    return {}


@pytest.fixture
def artifact(
    request: pytest.FixtureRequest,
    written: Written,
    program: Program,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Artifact]:
    """The artifact named by the test's parameter, e.g. onnx-fp16; written once a session."""
    name: str = request.param
    if name not in written:
        target, precision = name.split("-")
        folder = tmp_path_factory.mktemp(name)
        written[name] = folder, exporter(target)(program, folder, precision)
    return written[name]
