"""Constants and types of an ML Program -> numpy arrays; those of the weight file are mapped."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minuet.contracts.errors import DamagedError, NotEvaluatedError
from minuet.contracts.files import contained
from minuet.contracts.tensors import Array

MAX_ELEMENTS = 1 << 31  # of one tensor: 8 GiB of float32
ROOT = "@model_path/"  # how a program names the folder of its model

# Weight file of coremltools 9.0: 64 bytes of header; before each blob, 64 bytes that say where
# and how long it is.
SENTINEL = 0xDEADBEEF
METADATA = struct.Struct("<IIQQQ")  # sentinel, type, bytes, offset, bits of padding


@dataclass(frozen=True, slots=True)
class Type:
    """An element type: numpy's nearest, its bits in a file, and whether it has a sign."""

    name: str
    dtype: str
    bits: int
    signed: bool = True


# By the numbers of MIL.proto's DataType.
TYPES = {
    1: Type("bool", "bool", 8),
    2: Type("string", "str", 0),
    10: Type("fp16", "float16", 16),
    11: Type("fp32", "float32", 32),
    12: Type("fp64", "float64", 64),
    21: Type("int8", "int8", 8),
    22: Type("int16", "int16", 16),
    23: Type("int32", "int32", 32),
    24: Type("int64", "int64", 64),
    25: Type("int4", "int8", 4),
    31: Type("uint8", "uint8", 8),
    32: Type("uint16", "uint16", 16),
    33: Type("uint32", "uint32", 32),
    35: Type("uint4", "uint8", 4, signed=False),
    36: Type("uint2", "uint8", 2, signed=False),
    37: Type("uint1", "uint8", 1, signed=False),
    38: Type("uint6", "uint8", 6, signed=False),
    39: Type("uint3", "uint8", 3, signed=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A named result or input; None is a size that is known only when it runs."""

    name: str
    type: Type
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A value of the program: in its text, or a place in the weight file."""

    type: Type
    shape: tuple[int, ...]
    data: bytes | Array | str = b""
    file: Path | None = None
    offset: int = 0

    def array(self) -> Any:
        """The value: a string, or an array of the declared shape.

        Raises:
            DamagedError: the bytes are fewer than the shape says.
        """
        if isinstance(self.data, str):
            return self.data
        found = self.data if self.file is None else _mapped(self.file, self.offset)
        if isinstance(found, bytes):
            found = np.frombuffer(bytearray(found), np.uint8)
        return self._shaped(found)

    def _shaped(self, found: Array) -> Array:
        if found.dtype == np.uint8 and self.type.bits < 8:
            found = unpacked(found, self.type, math.prod(self.shape))
        elif found.dtype == np.uint8:
            found = found.view(self.type.dtype)
        if found.size != math.prod(self.shape):
            raise DamagedError(f"a constant of shape {self.shape} has {found.size} values")
        return found.reshape(self.shape)


def unpacked(packed: Array, kind: Type, count: int) -> Array:
    """Values of less than a byte, the first in the lowest bits, one to an int8 or uint8."""
    bits = np.unpackbits(packed, bitorder="little")[: count * kind.bits]
    if bits.size < count * kind.bits:
        raise DamagedError(f"{count} values of {kind.bits} bits do not fit {packed.size} bytes")
    weights = 1 << np.arange(kind.bits)
    found = (bits.reshape(count, kind.bits) * weights).sum(1).astype(np.int16)
    if kind.signed:
        found = np.where(found >= 1 << (kind.bits - 1), found - (1 << kind.bits), found)
    values: Array = found.astype(kind.dtype)
    return values


def port(spec: Any) -> Port:
    """A named value's type.

    Raises:
        NotEvaluatedError: not a tensor, or one of an unknown element type.
        DamagedError: a tensor beyond all bounds.
    """
    which = spec.type.WhichOneof("type")
    if which != "tensorType":
        raise NotEvaluatedError(f"{spec.name!r} is a {which}: lists and states are not evaluated")
    return Port(name=spec.name, **_tensor(spec.type.tensorType, spec.name))


def constant(spec: Any, folder: Path) -> Constant:
    """A value where it stands; the weight file is opened, and bounded, when it is asked for."""
    kind = _tensor(spec.type.tensorType, "a constant")
    if spec.WhichOneof("value") == "blobFileValue":
        name = spec.blobFileValue.fileName
        if not name.startswith(ROOT):
            raise DamagedError(f"weights in {name!r}, outside the package: refused")
        file = contained(folder, name.removeprefix(ROOT))
        return Constant(**kind, file=file, offset=spec.blobFileValue.offset)
    stored = spec.immediateValue.tensor
    values = getattr(stored, stored.WhichOneof("value")).values
    if kind["type"].dtype == "str":
        return Constant(**kind, data=str(values[0]))
    if isinstance(values, bytes):
        return Constant(**kind, data=values)
    return Constant(**kind, data=np.array(values, kind["type"].dtype))


def _tensor(spec: Any, name: str) -> dict[str, Any]:
    if spec.dataType not in TYPES:
        raise NotEvaluatedError(
            f"{name!r} has element type {spec.dataType}, which is not evaluated"
        )
    sizes = [
        d.constant.size if d.WhichOneof("dimension") == "constant" else None
        for d in spec.dimensions
    ]
    if math.prod(size or 1 for size in sizes) > MAX_ELEMENTS:
        raise DamagedError(f"{name!r} of shape {sizes}: more than {MAX_ELEMENTS} elements, refused")
    return {"type": TYPES[spec.dataType], "shape": tuple(sizes)}


def _mapped(file: Path, offset: int) -> Array:
    """A blob's bytes; copy-on-write, so that a tensor may share them."""
    size = file.stat().st_size
    if offset + METADATA.size > size:
        raise DamagedError(f"{file}: no weights at {offset} of {size} bytes; export again.")
    with file.open("rb") as stream:
        stream.seek(offset)
        sentinel, _, count, start, _ = METADATA.unpack(stream.read(METADATA.size))
    if sentinel != SENTINEL or start + count > size:
        raise DamagedError(f"{file}: damaged weights at {offset}; export again.")
    if not count:
        return np.zeros(0, np.uint8)
    return np.memmap(file, np.uint8, mode="c", offset=start, shape=(count,))
