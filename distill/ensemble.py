"""Ensemble-of-teachers: every teacher animates every sticker.

Animated Stickers (Yan et al. 2024, arXiv 2402.06088): teachers with different strengths offer
candidates; the good ones, whoever made them, become what the student learns from.
"""

# Shapes: as in batch.py.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from minuet.contracts.errors import Refusal, RequestError
from minuet.contracts.pixels import premultiplied
from minuet.distill.keying import keyed
from minuet.distill.path import noise
from minuet.distill.pipelines import text
from minuet.distill.store import Known
from minuet.distill.teacher import Animates, Films
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
    teachers: Sequence[Animates | Films],
    requests: Sequence[Request],
    seed: int,
    frames: int = 8,
    *,
    parts: int = 12,
    refused: Callable[[str, Request, Refusal], None] = lambda name, request, why: None,
) -> Iterator[Candidate]:
    """Every teacher's answer to every request, teacher by teacher; noise is shared where it fits.

    A teacher of pictures alone knows neither parts nor motions: its clips say so (Known.truth),
    and their frames, the first too, are its own, cut from their background and shrunk to the
    sticker's size.

    Args:
        parts: how many the clips of others have, whose place is filled.
        refused: told of every clip of which no alpha can be told.

    Raises:
        RequestError: a teacher that makes fewer frames than a clip has.
    """
    stickers = torch.stack([request.sticker_CHW for request in requests])
    tokens = torch.from_numpy(np.stack([request.tokens_L for request in requests]))
    shape = (frames, *stickers.shape[1:])
    starts = torch.stack([noise(seed, request.number, shape) for request in requests])
    for teacher in teachers:
        if isinstance(teacher, Animates):
            fields = teacher.animate(stickers, tokens, starts)
            yield from _answers(teacher.name, requests, stickers, fields, frames)
            continue
        for request in requests:
            clip = _filmed(teacher, request, seed, frames, parts)
            if isinstance(clip, Refusal):
                refused(teacher.name, request, clip)
            else:
                yield Candidate(request=request, teacher=teacher.name, clip=clip, painted=0.0)


def _filmed(
    teacher: Films, request: Request, seed: int, frames: int, parts: int
) -> Known | Refusal:
    """A teacher's pictures as a clip whose parts and motions nobody knows."""
    condition = {
        "text": text([request.caption]),
        "tokens": torch.from_numpy(request.tokens_L)[None],
        "sticker": request.sticker_CHW[None],
    }
    film_TCHW = teacher.film(condition, seed, [request.number])[0]
    if len(film_TCHW) < frames:
        raise RequestError(
            f"{teacher.name}: makes {len(film_TCHW)} frames, and a clip has {frames}; "
            "ask its pipeline for more."
        )
    evenly = [index * len(film_TCHW) // frames for index in range(frames)]
    found = keyed(film_TCHW[evenly])
    if isinstance(found, Refusal):
        return found
    small = F.adaptive_avg_pool2d(found, request.sticker_CHW.shape[-1])
    still = np.broadcast_to(np.eye(3, dtype=np.float32)[:2], (frames, parts, 2, 3))
    return Known(
        frames_THWC=_bytes(small).numpy(),
        part_THW=np.zeros((frames, *small.shape[2:]), np.uint8),
        mask_THW=(small[:, 3] > OPAQUE).numpy(),
        affine_TK23=still,
        captions=(request.caption,),
        tokens_VL=request.tokens_L[None],
        source=teacher.name,  # and no noise: the teacher's own had another shape than the clip
        truth=False,
    )


def _bytes(premultiplied_TCHW: Tensor) -> Tensor:
    """Frames as they are stored: straight alpha (T, H, W, C), uint8."""
    straight = unpremultiply(premultiplied_TCHW)
    return (straight * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)


def _answers(
    name: str, requests: Sequence[Request], stickers: Tensor, fields: Fields, frames: int
) -> Iterator[Candidate]:
    """Fields -> clips with the truth as the teacher saw it."""
    fields = decided(fields)
    composed = compose(stickers, fields, frames)
    pixels = _bytes(composed)
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
