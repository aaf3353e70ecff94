"""What the operations share: arguments -> tensors, integers, flags."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Array
from minuet.runtimes.mil.values import MAX_ELEMENTS

Args = dict[str, Any]  # arguments by Core ML's names: tensors, numpy constants, strings
Handler = Callable[[Args], Any]  # -> a tensor, or a list of them

TORCH = {
    "fp32": torch.float32,
    "fp64": torch.float64,
    "fp16": torch.float16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "int4": torch.int8,
    "uint32": torch.int64,
    "uint16": torch.int32,  # torch computes little with it
    "uint8": torch.uint8,
    "uint6": torch.uint8,
    "uint4": torch.uint8,
    "uint3": torch.uint8,
    "uint2": torch.uint8,
    "uint1": torch.uint8,
    "bool": torch.bool,
}


def tensor(value: Any) -> Tensor:
    """A constant or a tensor -> a tensor; float16 is widened, so that all arithmetic is float32."""
    if isinstance(value, Tensor):
        found = value
    else:
        array = np.asarray(value)
        if array.dtype in (np.uint16, np.uint32):
            array = array.astype(np.int32 if array.dtype == np.uint16 else np.int64)
        found = torch.from_numpy(array if array.flags.writeable else array.copy())
    return found.float() if found.dtype == torch.float16 else found


def array(value: Any) -> Array:
    """The same as numpy, float16 widened."""
    found: Array = tensor(value).numpy()
    return found


def optional(a: Args, name: str) -> Tensor | None:
    """A tensor, or None where the program leaves it out."""
    return None if a.get(name) is None else tensor(a[name])


def ints(value: Any) -> list[int]:
    """Integers as a list."""
    return [int(one) for one in np.asarray(value).reshape(-1)]


def flags(value: Any, count: int) -> list[bool]:
    """Booleans as a list; absent means none is set."""
    return [False] * count if value is None else [bool(v) for v in np.asarray(value).reshape(-1)]


def number(a: Args, name: str, default: float) -> float:
    """One number, or the operation's own default."""
    return float(a.get(name, default))


def several(value: Any) -> list[Tensor]:
    """A tuple of tensors; a program writes a tuple of one like the one."""
    return [tensor(one) for one in (value if isinstance(value, (list, tuple)) else [value])]


def bounded(shape: Sequence[int]) -> list[int]:
    """A shape that a program asks for in numbers.

    Raises:
        RequestError: larger than any tensor that is evaluated.
    """
    if math.prod(shape) > MAX_ELEMENTS or min(shape, default=0) < 0:
        raise RequestError(f"a tensor of shape {list(shape)} is refused")
    return list(shape)
