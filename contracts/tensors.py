"""A tensor's name, axes, dtype and range; a program's signature."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import RequestError

Array = NDArray[Any]
Arrays = Mapping[str, Array]
DTYPES = ("float32", "float16", "int32", "int64", "uint8", "int8", "bool")


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
