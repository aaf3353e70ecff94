"""TensorRT engines are built without a GPU; what cannot be is said."""

import errno
import hashlib
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from minuet.contracts.engine import Library, doubt, installed_library
from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export import tensorrt_build, to_tensorrt
from minuet.export.capture import Program, capture
from minuet.export.tensorrt_build import Order, build, build_into, known_capabilities
from minuet.export.to_tensorrt import devices_of, export_tensorrt, rebuild, this_device

pytest.importorskip("tensorrt_rtx_bindings")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x).sigmoid()
        return y


@pytest.fixture(scope="module")
def small() -> Program:
    torch.manual_seed(0)
    shape = (1, 4, 8, 8)
    x = TensorSpec(name="x", axes="BCHW", shape=shape, dtype="float32")
    y = TensorSpec(name="y", axes="BCHW", shape=shape, dtype="float32")
    inputs = {"x": np.zeros(shape, np.float32)}
    return capture(Small(), inputs, Signature(inputs=(x,), outputs=(y,)))


@pytest.fixture(scope="module")
def model(small: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export_tensorrt(small, folder, "fp32")
    return folder / "tensorrt-fp32/model.onnx"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_whole_sampler_is_built_and_says_what_for(
    program: Program, tmp_path: Path, precision: str
) -> None:
    artifact = export_tensorrt(program, tmp_path, precision, capability="SM86,SM89")
    assert artifact.name == f"tensorrt-{precision}"
    assert artifact.requires["gpu"] == "SM86 SM89"
    assert artifact.requires["library"] == "tensorrt_rtx"
    names = [Path(file.path).name for file in artifact.files]
    assert names == ["layers.json", "model.engine", "model.onnx", "rewrites.json"]
    engine = (tmp_path / artifact.entry).read_bytes()
    assert len(engine) > 100_000
    library = installed_library()
    assert doubt(engine, library, "SM86") is None and doubt(engine, library, "SM120") is not None


def test_the_engine_is_typed_as_its_model_is(small: Program, tmp_path: Path) -> None:
    def weight_types(precision: str) -> set[int]:
        artifact = export_tensorrt(small, tmp_path, precision)
        graph = onnx.load((tmp_path / artifact.entry).with_name("model.onnx")).graph
        return {row.data_type for row in graph.initializer if len(row.dims) == 4}

    assert weight_types("fp32") == {onnx.TensorProto.FLOAT}
    assert weight_types("fp16") == {onnx.TensorProto.FLOAT16}
    assert weight_types("bf16") == {onnx.TensorProto.BFLOAT16}


def test_one_engine_serves_every_device_for_a_few_bytes_more(model: Path) -> None:
    library = installed_library()
    every = tuple(name for name in known_capabilities(library) if name != "SM75")
    assert {"SM80", "SM86", "SM89", "SM120"} <= set(every)
    one = build(library, Order(model=model, capabilities=("SM86",)))
    all_ = build(library, Order(model=model, capabilities=every))
    assert len(one) < len(all_) < 1.1 * len(one)


def test_the_same_model_gives_the_same_engine(model: Path) -> None:
    library, order = installed_library(), Order(model=model, capabilities=("SM89",))
    first, second = (hashlib.sha256(build(library, order)).digest() for _ in range(2))
    assert first == second


def test_an_engine_is_written_as_it_is_built(model: Path, tmp_path: Path) -> None:
    library, order = installed_library(), Order(model=model, capabilities=("SM86",))
    with (tmp_path / "engine").open("wb") as stream:
        sha256 = build_into(library, order, stream)
    written = (tmp_path / "engine").read_bytes()
    assert written == build(library, order) and sha256 == hashlib.sha256(written).hexdigest()


def test_an_engine_in_one_piece_is_the_same_engine(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the tensorrt package made it before it knew streams."""
    library, order = installed_library(), Order(model=model, capabilities=("SM86",))
    streamed = build(library, order)

    def whole(builder: Any, network: Any, config: Any, writer: Any) -> bool:
        plain = SimpleNamespace(build_serialized_network=builder.build_serialized_network)
        return serialize(plain, network, config, writer)

    serialize = tensorrt_build._serialize
    monkeypatch.setattr(tensorrt_build, "_serialize", whole)
    assert build(library, order) == streamed


def test_a_full_disk_is_said_as_such_while_an_engine_is_built(model: Path) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "no space left")

    order = Order(model=model, capabilities=("SM86",))
    with pytest.raises(OSError, match="no space left"):
        build_into(installed_library(), order, Full())


def test_a_rebuilt_engine_is_this_users_own_and_built_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    orders: list[Order] = []

    def counted(library: Library, order: Order) -> bytes:
        orders.append(order)
        return build(library, order)

    monkeypatch.setattr(to_tensorrt, "build", counted)
    engine = rebuild(model, "SM89")
    assert doubt(engine, installed_library(), "SM89") is None
    assert rebuild(model, "SM89") == engine and len(orders) == 1
    (kept,) = (tmp_path / "minuet/caches").iterdir()
    kept.write_bytes(b"planted")  # what is not on record is not taken
    assert rebuild(model, "SM89") == engine and len(orders) == 2


def test_a_library_that_builds_for_its_own_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_tensorrt, "this_device", lambda: "SM90")
    classic = Library(name="tensorrt", version="10.9", trt=object())
    assert devices_of(classic) == devices_of(classic, "SM90") == ("SM90",)
    with pytest.raises(RequestError, match=r"tensorrt 10.9 builds for .*SM90, and not for SM89"):
        devices_of(classic, "SM89")
    assert devices_of(installed_library(), "SM86, SM89") == ("SM86", "SM89")


def test_an_unknown_gpu_is_refused_with_the_known_ones(model: Path) -> None:
    with pytest.raises(RequestError, match=r"'SM11' is no compute capability; known: .*SM86"):
        build(installed_library(), Order(model=model, capabilities=("SM11",)))


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(RequestError, match="could not read the program"):
        build(installed_library(), Order(model=tmp_path / "model.onnx", capabilities=("SM86",)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_weights_stay_in_the_engine(model: Path) -> None:
    """Upstream: any refittable build of TensorRT for RTX 1.7 asks CUDA for the GPU."""
    with pytest.raises(RequestError, match=r"CUDA_SUCCESS.*Build it with its weights in it"):
        build(installed_library(), Order(model=model, capabilities=("SM86",), strip=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_this_machines_device_is_asked_for_where_there_is_none() -> None:
    with pytest.raises(MissingBackendError, match="no NVIDIA GPU"):
        this_device()
