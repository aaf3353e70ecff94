"""One loss an equation, each a mean over clips."""

# Shapes: B clips, T frames, N = B * T, K parts, H rows, W columns.

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.distill.batch import Batch
from minuet.models.compose import Fields, bounded, compose, grid, total_flow

LOWEST_LEVEL = 0.5  # weights stop growing below it
SMALLEST = 4.0  # pixels: a part with fewer in a frame has no say about its motion there


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What each part of the composition loss counts."""

    clip: float = 1.0
    sharp: float = 2.0
    flow: float = 1.0
    affine: float = 2.0
    parts: float = 0.1
    gate: float = 0.15
    paint: float = 0.5
    dense: float = 0.02
    points: float = 1.0
    traits: float = 0.05
    found: float = 0.1


def clip_loss(x_NCHW: Tensor, clean_NCHW: Tensor, t_B: Tensor) -> Tensor:
    """Squared distance of clean clips, 1 / max(t, 1/2)^2: a clipped velocity loss.

    Both in [-1, 1]. Salimans and Ho 2022 (arXiv 2202.00512), sec. 4, truncated at 1/2.
    """
    squared = (x_NCHW - clean_NCHW).square().mean((1, 2, 3)).reshape(len(t_B), -1).mean(1)
    return (squared / t_B.clamp(min=LOWEST_LEVEL).square()).mean()


def weighted(error_NHW: Tensor, weight_NHW: Tensor, clips: int) -> Tensor:
    """A weighted mean over each clip's pixels, then over clips: all noise levels count alike.

    The motion is decided where the noise is strongest; weights that fall with the noise teach it
    too late (measured: the flow loss stood still for 3000 clips under 1 / t).
    """
    total_B = (error_NHW * weight_NHW).reshape(clips, -1).sum(1)
    return (total_B / weight_NHW.reshape(clips, -1).sum(1).clamp(min=1.0)).mean()


def affine_loss(affine_NK6: Tensor, batch: Batch, weight_NHW: Tensor) -> Tensor:
    """Squared distance of the flows that each part's true pixels would have; parts count alike.

    Counted by pixels, an arm is little of a sticker, and hardly moved when it should wave.
    The error at (x, y, 1) is linear in the difference D of two affines, so a part's squares sum to
    D M D', with M the second moments of its pixels: no map of motions is ever made.
    """
    n, k, _ = affine_NK6.shape
    side = weight_NHW.shape[-1]
    names_K = torch.arange(k).to(batch.part_NHW)
    is_part = batch.part_NHW[:, None] == names_K[:, None, None]
    shares = (is_part * weight_NHW[:, None]).reshape(n, k, side * side)
    places = grid(side).to(shares).reshape(3, side * side)
    pairs = (places[:, None] * places[None]).reshape(9, side * side)
    moments = torch.matmul(shares, pairs.T).reshape(n, k, 1, 3, 3)
    apart = (affine_NK6 - batch.affine_NK6).reshape(n, k, 2, 1, 3)
    squares_NK = (apart @ moments @ apart.transpose(-1, -2)).sum((2, 3, 4))
    area_NK = shares.sum(2)
    there = (area_NK >= SMALLEST).float()
    return (squares_NK / area_NK.clamp(min=SMALLEST) * there).sum() / there.sum().clamp(min=1.0)


def composition_losses(fields: Fields, batch: Batch, t_B: Tensor) -> dict[str, Tensor]:
    """Every loss of the composition head against a clip with known parts and motions.

    clip: the composed frames; sharp: the same by L1, which sees the faint halos that squares
    forgive; flow: L1 of the total backward flow; affine: squared distance of the flow that each
    pixel's true part would give (squared, because the L1 distance to two opposite motions is the
    same all the way between them: left and right were never told apart); parts: cross-entropy of
    the masks; gate: whether the pixel was visible in the sticker; paint: L1 where it was not;
    dense: a price on the remainder.

    Motions learn from their labels alone. While masks are still wrong, frames look better if an
    arm stays where it is, and what words had learnt of arms was lost again (measured: mean squared
    error of the motions 0.0003 after the rehearsal, 0.05 after 12 000 clips of all losses).
    Of a clip without labels (Batch.truth_B) only clip, sharp and dense count, and there frames are
    all that motions can learn from.
    """
    side, frames = batch.sticker_BCHW.shape[-1], batch.frames
    affine = fields.affine_NK6.detach()
    if batch.truth_B is not None:
        affine = torch.where(batch.known_N11 > 0, affine, fields.affine_NK6)
    still = replace(fields, affine_NK6=affine)
    flow = total_flow(still, side)
    composed = compose(batch.sticker_BCHW, still, frames, flow)
    near, true_flow = batch.taught_NHW, batch.flow_N2HW
    logits = bounded(fields.parts_NKHW)
    visible = batch.visible_NHW(true_flow)
    hidden = 1 - visible
    gate = F.binary_cross_entropy_with_logits(fields.gate_N1HW[:, 0], visible, reduction="none")
    paint = (fields.paint_NCHW - batch.clean_NCHW).abs().sum(1)
    return {
        "clip": clip_loss(composed * 2 - 1, batch.clean_NCHW * 2 - 1, t_B),
        "sharp": (composed - batch.clean_NCHW).abs().sum(1).mean(),
        "flow": weighted((flow - true_flow).abs().sum(1), near, batch.clips),
        "affine": affine_loss(fields.affine_NK6, batch, near),
        "parts": weighted(
            F.cross_entropy(logits, batch.part_NHW.long(), reduction="none"), near, batch.clips
        ),
        "gate": weighted(gate, near * (1 + 3 * hidden), batch.clips),
        "paint": weighted(paint, (hidden + 0.02) * batch.known_N11, batch.clips),
        "dense": fields.dense_N2HW.abs().mean(),
    }


def total(losses: dict[str, Tensor], weights: Weights) -> Tensor:
    """The weighted sum."""
    return torch.stack([getattr(weights, name) * value for name, value in losses.items()]).sum()


def guided(conditional: Fields, unconditional: Fields, scale: float) -> Fields:
    """Classifier-free guidance on what is said about the motion, not on the mixed pixels.

    f = f_0 + s (f_c - f_0). Ho and Salimans 2022 (arXiv 2207.12598), eq. 6, applied to the fields,
    so that the guided estimate can still be composed at full size.
    """
    return unconditional * (1 - scale) + conditional * scale
