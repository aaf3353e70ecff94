"""A job -> the files that its artifact needs on a device, and its inputs in foreign formats."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from minuet.benchmarks.subject import GoneError, Job
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.files import contained, read_json
from minuet.contracts.tensors import Array, Arrays
from minuet.contracts.wire import field

MANIFEST = "manifest.json"

# onnx.proto, TensorProto.DataType
DTYPES = {
    **{"float32": 1, "uint8": 2, "int8": 3, "int32": 6},
    **{"int64": 7, "bool": 9, "float16": 10, "float64": 11},
}


def artifact_of(job: Job) -> tuple[Manifest, Artifact]:
    """The bundle's own words about the artifact; no runtime is loaded for it.

    Raises:
        GoneError: the bundle holds no such artifact.
    """
    path = job.bundle / MANIFEST
    manifest = Manifest.from_json(read_json(path), str(path))
    for artifact in manifest.artifacts:
        if artifact.name == job.artifact:
            return manifest, artifact
    raise GoneError(f"{job.bundle}: holds no {job.artifact}")


def artifact_files(bundle: Path, artifact: Artifact) -> dict[str, Path]:
    """The manifest and the artifact's files, by the names that they have in the bundle."""
    names = (MANIFEST, *(file.path for file in artifact.files))
    return {name: contained(bundle, name) for name in names}


def entry_files(bundle: Path, artifact: Artifact) -> dict[str, Path]:
    """The artifact's files alone: a native runner reads no manifest."""
    return {
        name: path for name, path in artifact_files(bundle, artifact).items() if name != MANIFEST
    }


def below(folder: str, files: Mapping[str, Path]) -> dict[str, Path]:
    """The same files, their names in a folder."""
    return {f"{folder}/{name}": path for name, path in files.items()}


def beside(entry: str, name: str) -> str:
    """A name in the same folder as an artifact's entry."""
    return str(PurePosixPath(entry).parent / name)


def tensor_proto(name: str, value: Array) -> bytes:
    """An array as a serialized onnx.TensorProto: dims 1, data_type 2, name 8, raw_data 9."""
    dims = b"".join(field(1, size) for size in value.shape)
    return dims + field(2, DTYPES[value.dtype.name]) + field(8, name) + field(9, little(value))


def raw_inputs(inputs: Arrays, order: tuple[str, ...]) -> Iterator[bytes]:
    """The inputs' bytes, in the order of the program."""
    return (little(inputs[name]) for name in order)


def little(value: Array) -> bytes:
    """An array's bytes in C order, little-endian as on every phone."""
    return value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
