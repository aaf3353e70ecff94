"""A rig, a style and matrices become RGBA frames, through Pillow or, much faster, Skia."""

# Shapes: T frames, K nodes, H = W = size.

import functools
import importlib.util
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.stickers.rig import Rig
from minuet.stickers.view import Matrices

SIZES = (64, 512)
BACKENDS = ("pillow", "skia")


class Backend(Protocol):
    """Draws posed rigs; both methods draw the same shapes."""

    def draw(self, rig: Rig, style: str, matrices: Matrices, size: int) -> NDArray[np.uint8]:
        """Straight-alpha RGBA."""
        ...

    def number(self, rig: Rig, matrices: Matrices, size: int) -> NDArray[np.int16]:
        """The node seen at every pixel's centre, -1 outside of the sticker."""
        ...


def backend(name: str = "auto") -> Backend:
    """The named backend; "auto" is Skia where it is installed.

    Raises RequestError for another name, MissingBackendError where Skia is asked and missing.
    """
    if name not in ("auto", *BACKENDS):
        raise RequestError(f"unknown backend {name!r}; choose auto, {' or '.join(BACKENDS)}")
    found = importlib.util.find_spec("skia") is not None
    if name == "skia" and not found:
        raise MissingBackendError(
            "the skia backend was asked for, but skia-python is not installed; "
            "install skia-python, or take backend='pillow'"
        )
    return _skia() if found and name != "pillow" else _pillow()


@functools.cache
def _skia() -> Backend:
    from minuet.stickers.render_skia import SkiaBackend

    return SkiaBackend()


@functools.cache
def _pillow() -> Backend:
    from minuet.stickers.render_pillow import PillowBackend

    return PillowBackend()


def check_size(size: int) -> None:
    """Raise RequestError unless clips can be drawn at this size."""
    low, high = SIZES
    if not low <= size <= high:
        raise RequestError(f"stickers are drawn at {low} to {high} pixels, not at {size}")
