"""Ensemble-of-teachers: every teacher animates every sticker.

Animated Stickers (Yan et al. 2024, arXiv 2402.06088): teachers with different strengths offer
candidates; the good ones, whoever made them, become what the student learns from.
"""

# Shapes: as in batch.py.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from minuet.contracts.pixels import premultiplied
from minuet.distill.path import noise
from minuet.distill.store import Known
from minuet.distill.teacher import Teacher
from minuet.models.compose import Fields, compose, decided, unpremultiply

OPAQUE = 0.02  # alpha above which a pixel is the sticker's


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A sticker and a caption to animate."""

    sticker_CHW: Tensor  # premultiplied, [0, 1], at the working size
    caption: str
    tokens_L: NDArray[np.int32]
    motion: str
    number: int  # the address of its noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One teacher's answer to one request."""

    request: Request
    teacher: str
    clip: Known
    painted: float  # share of the sticker's pixels that are painted rather than moved


def candidates(
    teachers: Sequence[Teacher], requests: Sequence[Request], seed: int, frames: int = 8
) -> Iterator[Candidate]:
    """Every teacher's answer to every request, teacher by teacher. The noise is shared."""
    stickers = torch.stack([request.sticker_CHW for request in requests])
    tokens = torch.from_numpy(np.stack([request.tokens_L for request in requests]))
    shape = (frames, *stickers.shape[1:])
    starts = torch.stack([noise(seed, request.number, shape) for request in requests])
    for teacher in teachers:
        fields = teacher.animate(stickers, tokens, starts)
        yield from _answers(teacher.name, requests, stickers, fields, frames)


def _answers(
    name: str, requests: Sequence[Request], stickers: Tensor, fields: Fields, frames: int
) -> Iterator[Candidate]:
    """Fields -> clips with the truth as the teacher saw it."""
    fields = decided(fields)
    composed = compose(stickers, fields, frames)
    pixels = (unpremultiply(composed) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)
    parts = fields.parts_NKHW.argmax(1).to(torch.uint8)
    mask = composed[:, 3] > OPAQUE
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    affine = (fields.affine_NK6 + identity).reshape(len(parts), -1, 2, 3)
    drawn = (torch.sigmoid(fields.gate_N1HW[:, 0]) < 0.5) & mask
    for index, request in enumerate(requests):
        rows = slice(index * frames, (index + 1) * frames)
        clip = Known(
            frames_THWC=pixels[rows].numpy(),
            part_THW=parts[rows].numpy(),
            mask_THW=mask[rows].numpy(),
            affine_TK23=affine[rows].numpy(),
            captions=(request.caption,),
            tokens_VL=request.tokens_L[None],
            noise=request.number,
            source=name,
        )
        share = float(drawn[rows].sum() / mask[rows].sum().clamp(min=1))
        yield Candidate(request=request, teacher=name, clip=clip, painted=share)


def shrunk(image_HWC: NDArray[np.uint8], side: int) -> Tensor:
    """A square RGBA picture, straight alpha -> premultiplied (C, side, side) in [0, 1]."""
    seen = torch.from_numpy(premultiplied(image_HWC)).permute(2, 0, 1).contiguous()
    return F.adaptive_avg_pool2d(seen[None], side)[0]
