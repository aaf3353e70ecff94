"""A package is read as it lies on disk, and one that lies is refused with one message."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.tensors import Array
from minuet.runtimes.mil.package import load_function, load_functions
from minuet.runtimes.mil.values import METADATA, SENTINEL, Constant
from tests.mlpackage import WEIGHTS, Op, Tensor, message, save, write

X = Tensor(name="x", shape=(2,))
Y = Tensor(name="y", shape=(2,))
TWICE = [Op(kind="mul", outputs=[Y], inputs={"x": "x", "y": 2.0})]


def test_operations_come_with_their_names_types_and_arguments(tmp_path: Path) -> None:
    function = load_function(write(tmp_path, [X], TWICE, ["y"]))
    (op,) = function.operations
    assert (op.kind, op.name, function.outputs) == ("mul", "y", ("y",))
    assert op.arguments["x"] == "x" and op.arguments["y"].array() == 2
    assert op.outputs[0].shape == (2,) and op.outputs[0].type.name == "fp32"


def test_a_function_is_chosen_by_name(tmp_path: Path) -> None:
    package = write(tmp_path, [X], TWICE, ["y"], names=("small", "large"))
    assert list(load_functions(package)) == ["small", "large"]  # the default one first
    assert load_function(package, "large").outputs == ("y",)
    with pytest.raises(RequestError, match="no function 'huge'; it has small, large"):
        load_function(package, "huge")


def with_weight(
    folder: Path, values: Array, name: str = WEIGHTS, header: Mapping[str, int] | None = None
) -> Path:
    """A program that gives a weight of two numbers, with whatever header is asked for."""
    model = message()
    function = model.mlProgram.functions["main"]
    function.opset = "CoreML8"
    block = function.block_specializations["CoreML8"]
    op = block.operations.add(type="const")
    out = op.outputs.add(name="w")
    for kind in (out.type.tensorType, op.attributes["val"].type.tensorType):
        kind.dataType, kind.rank = 11, 1
        kind.dimensions.add().constant.size = 2
    op.attributes["val"].blobFileValue.fileName = name
    op.attributes["val"].blobFileValue.offset = 64
    block.outputs.append("w")
    package = save(folder / "m.mlpackage", model)
    said = {"sentinel": SENTINEL, "bytes": values.nbytes, "offset": 128, **(header or {})}
    metadata = METADATA.pack(said["sentinel"], 2, said["bytes"], said["offset"], 0)
    blob = struct.pack("<II", 1, 2).ljust(64, b"\0") + metadata.ljust(64, b"\0")
    weights = package / "Data/com.apple.CoreML/weights/weight.bin"
    weights.write_bytes(blob + values.tobytes())
    return package


def weight(package: Path) -> Constant:
    found: Constant = load_function(package).operations[0].arguments["val"]
    return found


VALUES = np.array([1.5, -2], np.float32)


def test_a_weight_lies_in_its_own_file(tmp_path: Path) -> None:
    found = weight(with_weight(tmp_path, VALUES)).array()
    np.testing.assert_array_equal(found, VALUES)
    assert isinstance(found.base, np.memmap | np.ndarray)  # mapped, not read


def test_the_weight_file_is_read_as_coremltools_reads_it(tmp_path: Path) -> None:
    storage = pytest.importorskip("coremltools.libmilstoragepython")
    path = str(tmp_path / "w.bin")
    writer = storage._BlobStorageWriter(path)
    first = writer.write_float_data(VALUES)
    half = writer.write_fp16_data(np.array([0.5], np.float16).view(np.uint16))
    small = writer.write_int8_data(np.array([-3, 4, 5], np.int8))
    from minuet.runtimes.mil.values import TYPES

    def read(kind: int, size: int, offset: int) -> list[float]:
        made = Constant(type=TYPES[kind], shape=(size,), file=Path(path), offset=offset)
        values: list[float] = made.array().tolist()
        return values

    assert read(11, 2, first) == VALUES.tolist()
    assert read(10, 1, half) == [0.5]
    assert read(21, 3, small) == [-3, 4, 5]


@pytest.mark.parametrize(
    "header",
    [{"sentinel": 7}, {"bytes": 1 << 40}, {"offset": 1 << 40}, {"bytes": 4}],
    ids=["no blob", "too long", "beyond the file", "too short"],
)
def test_a_weight_that_lies_is_refused(header: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"damaged weights|has 1 values"):
        weight(with_weight(tmp_path, VALUES, header=header)).array()


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "@model_path/../../../x", "weights/weight.bin", "@model_path/"]
)
def test_weights_outside_the_package_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"refused"):
        load_function(with_weight(tmp_path, VALUES, name=name))


def test_weights_behind_a_link_are_refused(tmp_path: Path) -> None:
    package = with_weight(tmp_path, VALUES)
    weights = package / "Data/com.apple.CoreML/weights/weight.bin"
    elsewhere = tmp_path / "elsewhere.bin"
    weights.rename(elsewhere)
    weights.symlink_to(elsewhere)
    with pytest.raises(DamagedError, match="by a link"):
        load_function(package)


def test_an_index_that_points_outside_is_refused(tmp_path: Path) -> None:
    package = write(tmp_path, [X], TWICE, ["y"])
    index = json.loads((package / "Manifest.json").read_text())
    index["itemInfoEntries"]["1"]["path"] = "../../../etc/passwd"
    (package / "Manifest.json").write_text(json.dumps(index))
    with pytest.raises(DamagedError, match="outside its folder"):
        load_function(package)


@pytest.mark.parametrize("bytes_", [b"", b"\xff" * 99, b"\x08\x09"])
def test_what_is_no_program_is_refused(bytes_: bytes, tmp_path: Path) -> None:
    package = write(tmp_path, [X], TWICE, ["y"])
    (package / "Data/com.apple.CoreML/model.mlmodel").write_bytes(bytes_)
    with pytest.raises(DamagedError, match="export again"):
        load_function(package)


def test_a_truncated_program_is_refused(tmp_path: Path) -> None:
    package = write(tmp_path, [X], TWICE, ["y"])
    model = package / "Data/com.apple.CoreML/model.mlmodel"
    model.write_bytes(model.read_bytes()[:-7])
    with pytest.raises(DamagedError, match="export again"):
        load_function(package)


def test_a_tensor_beyond_all_bounds_is_refused(tmp_path: Path) -> None:
    huge = Tensor(name="y", shape=(1 << 20, 1 << 20))
    package = write(tmp_path, [X], [Op(kind="fill", outputs=[huge])], ["y"])
    with pytest.raises(DamagedError, match=r"not a readable|more than"):
        load_function(package)
