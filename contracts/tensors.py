"""A tensor's name, axes, dtype and range; a program's signature."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import RequestError

Array = NDArray[Any]
Arrays = Mapping[str, Array]
NOTHING: Mapping[str, str] = {}
SAFE_NAMES = {  # numpy's names of dtypes -> those of safetensors files
    "bool": "BOOL",
    **{
        f"{kind}{bits}": f"{kind[0].upper()}{bits}"
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
    },
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
}
DTYPES = ("float32", "float16", "int32", "int64", "uint8", "int8", "bool")


def to_safetensors(arrays: Arrays, about: Mapping[str, str] = NOTHING) -> bytes:
    """A safetensors file; the same arrays and notes give the same bytes.

    Ours, because the library's writer for numpy writes memory as it lies there: a transposed array
    comes back scrambled, under its own shape. And it leaves the order of notes to chance.

    Raises:
        KeyError: a dtype that the format does not have.
    """
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # aligned
    header: dict[str, Any] = {"__metadata__": dict(sorted(about.items()))} if about else {}
    end = 0
    for name in names:
        begin, end = end, end + arrays[name].nbytes
        header[name] = {
            "dtype": SAFE_NAMES[arrays[name].dtype.name],
            "shape": list(arrays[name].shape),
            "data_offsets": [begin, end],
        }
    rows = [arrays[name].astype(arrays[name].dtype.newbyteorder("<")).tobytes() for name in names]
    return b"".join([_prefixed(header), *rows])


def _prefixed(header: Mapping[str, Any]) -> bytes:
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def canonical(data: bytes) -> bytes:
    """The same safetensors file with its notes in order."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    return _prefixed(header) + data[8 + size :]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One named input or output, with its convention in words."""

    name: str
    axes: str  # one letter an axis: B clips, T frames, C channels, H rows, W columns, L tokens
    shape: tuple[int, ...]
    dtype: str
    low: float | None = None  # the range values live in; None: unbounded
    high: float | None = None
    meaning: str = ""

    def __post_init__(self) -> None:
        if len(self.axes) != len(self.shape):
            raise ValueError(f"{self.name}: {len(self.axes)} axes for shape {self.shape}")
        if self.dtype not in DTYPES:
            raise ValueError(f"{self.name}: dtype {self.dtype!r} is not one of {DTYPES}")

    def check(self, value: Array) -> None:
        """Refuse an array of another shape or dtype.

        Raises:
            RequestError: with both sides of the mismatch.
        """
        if value.shape != self.shape or value.dtype != np.dtype(self.dtype):
            raise RequestError(
                f"{self.name}: {self.dtype} of shape {self.shape} is needed, "
                f"{value.dtype} of shape {value.shape} was given."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a program takes and gives, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def check_inputs(self, inputs: Arrays) -> None:
        """Refuse missing, unknown, or misshapen inputs."""
        names = [spec.name for spec in self.inputs]
        if sorted(inputs) != sorted(names):
            raise RequestError(f"the program takes {names}; given: {sorted(inputs)}.")
        for spec in self.inputs:
            spec.check(inputs[spec.name])

    def to_json(self) -> dict[str, Any]:
        """A plain value for a manifest."""
        return asdict(self)
