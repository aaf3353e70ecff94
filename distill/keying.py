"""RGB frames on a flat background -> premultiplied RGBA, for teachers that know no transparency."""

# Shapes: T frames, C = 3 or 4, H, W; colours in [0, 1].

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minuet.contracts.errors import Refusal

SPREAD = 0.06  # of a background's colours along the border, at most
APART = 0.08  # from the background, beyond which a pixel is the sticker's
BORDER = 0.75  # share of the border that must be background
EDGE = 2  # pixels in which the sticker's edge is mixed with the background

Floats = NDArray[np.float32]


def keyed(frames_TCHW: Tensor) -> Tensor | Refusal:
    """Premultiplied RGBA (T, 4, H, W), or why there is none.

    Pixels of the background's colour that are joined to the border are transparent; the same
    colour inside the sticker is the sticker's. In its outermost pixels p = a f + (1 - a) b, and f
    is as far from b as any neighbour is: a = |p - b| / max |p' - b|. What is a is taken from the
    background, so that premultiplied colour a f = p - (1 - a) b has none of it left. A sticker's
    rim of the background's own colour is lost with it: show stickers over a colour they lack.
    """
    found = []
    for index, frame in enumerate(frames_TCHW.permute(0, 2, 3, 1).numpy()):
        background = _background(frame)
        if background is None:
            return Refusal(f"frame {index} has no flat background to tell its alpha from")
        found.append(_cut(frame, background))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous()


def _background(frame_HWC: Floats) -> Floats | None:
    """The colour of most of the border; None where there is no such colour."""
    rim = np.concatenate([frame_HWC[0], frame_HWC[-1], frame_HWC[:, 0], frame_HWC[:, -1]])
    colour: Floats = np.median(rim, axis=0).astype(np.float32)
    near = np.abs(rim - colour).max(1) <= SPREAD
    return colour if near.mean() >= BORDER else None


def _cut(frame_HWC: Floats, background_C: Floats) -> Floats:
    from scipy import ndimage

    apart = np.abs(frame_HWC - background_C).max(-1)
    groups, _ = ndimage.label(apart <= APART)
    rim = np.concatenate([groups[0], groups[-1], groups[:, 0], groups[:, -1]])
    outside = np.isin(groups, np.unique(rim[rim > 0]))
    edge = ndimage.binary_dilation(outside, iterations=EDGE)
    furthest = ndimage.maximum_filter(apart, size=2 * EDGE + 1)
    mixed = np.clip(apart / np.maximum(furthest, APART), 0, 1)
    alpha = np.where(edge, mixed, 1.0)
    alpha = np.where(outside & (apart <= APART / 2), 0.0, alpha)[..., None]
    colour = np.clip(frame_HWC - (1 - alpha) * background_C, 0, alpha)
    cut: Floats = np.concatenate([colour, alpha], axis=-1).astype(np.float32)
    return cut
