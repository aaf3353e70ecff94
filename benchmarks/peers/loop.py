"""Parts that a runtime opened -> a clip: the sampler, written in numpy as an app would write it."""

# Shapes: T frames, N frames that are shown, S the side of the sticker, H = W = 64.

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.benchmarks.peers.parts import FIELDS, NOISY
from minuet.contracts.tensors import Arrays

Array = NDArray[Any]
Part = Callable[[Mapping[str, Array]], Sequence[Array]]  # named arrays in, arrays in order out
CLEAREST = np.float32(1 / 512)  # alpha below which colour is not told


@dataclass(frozen=True, slots=True)
class HostLoop:
    """A session whose steps are taken outside of the exported files."""

    parts: Mapping[str, Part]
    levels: Sequence[float]
    side: int  # at which the network works

    def run(self, inputs: Arrays) -> Arrays:
        """image (1, 4, S, S), tokens (1, L), noise (1, T, 4, H, W) -> frames (N, 4, S, S) uint8."""
        image, noisy = np.asarray(inputs["image"]), np.asarray(inputs["noise"])
        sticker = premultiplied(image)
        small = pooled(sticker, sticker.shape[-1] // self.side)
        steps = list(pairwise(self.levels))
        for level, following in steps[:-1]:
            fields = self._fields("between", noisy, level, small, inputs["tokens"])
            (made,) = self.parts["estimate"]({"sticker": small, **fields})
            clean = (2 * made - 1).reshape(noisy.shape)
            noisy = clean + np.float32(following / level) * (noisy - clean)
        fields = self._fields("denoise", noisy, steps[-1][0], small, inputs["tokens"])
        (frames,) = self.parts["compose"]({"sticker": sticker, **fields})
        return {"frames": finished(frames, image)}

    def _fields(
        self, part: str, noisy: Array, level: float, small: Array, tokens: Array
    ) -> dict[str, Array]:
        told = (noisy, np.array([level], np.float32), small, tokens)
        found = self.parts[part](dict(zip(NOISY, told, strict=True)))
        return dict(zip(FIELDS, found, strict=True))


def premultiplied(image: Array) -> Array:
    """Straight RGBA -> colour times alpha."""
    alpha = image[:, 3:4]
    return np.concatenate([image[:, :3] * alpha, alpha], axis=1)


def pooled(image: Array, factor: int) -> Array:
    """The mean of each square of `factor` pixels a side."""
    b, c, h, w = image.shape
    squares = image.reshape(b, c, h // factor, factor, w // factor, factor)
    return np.asarray(squares.mean((3, 5), dtype=np.float32))


def finished(frames: Array, image: Array) -> Array:
    """Premultiplied frames in [0, 1] -> straight uint8, the first one the image itself."""
    clipped = np.clip(frames, 0, 1)
    colour = np.clip(clipped[:, :3] / np.maximum(clipped[:, 3:4], CLEAREST), 0, 1)
    straight = np.concatenate([colour, clipped[:, 3:4]], axis=1)
    straight[0] = image[0]
    return np.asarray((straight * 255 + 0.5).astype(np.uint8))
