"""One animated sticker: frames, caption, motion, and where it came from."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Shapes: T frames, H rows, W columns, C = 4 channels (red, green, blue, alpha).

FRAMES = 8
FPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Looping RGBA frames with straight (not premultiplied) alpha."""

    frames_THWC: NDArray[np.uint8]
    caption: str
    motion: str  # "" where it is not known
    fps: int = FPS
    source: str = "world"  # the world, or the teacher's name
    seed: int = 0
    kept_by: str = ""  # the judge or annotator that kept it; "" before curation
    scores: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        shape, dtype = self.frames_THWC.shape, self.frames_THWC.dtype
        if len(shape) != 4 or shape[3] != 4 or dtype != np.uint8:
            raise ValueError(f"frames are uint8 of shape (T, H, W, 4), got {dtype} {shape}")

    @property
    def sha256(self) -> str:
        """The hash of what is seen and said: frames, caption, motion."""
        digest = hashlib.sha256(repr((self.frames_THWC.shape, self.caption, self.motion)).encode())
        digest.update(np.ascontiguousarray(self.frames_THWC).tobytes())
        return digest.hexdigest()
