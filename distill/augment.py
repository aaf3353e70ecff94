"""A batch -> the same clips seen otherwise: mirrored, moved, recoloured; the truth follows."""

# Shapes: as in batch.py.

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.distill.batch import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """What changes its name in a mirror."""

    parts: tuple[int, ...]  # the part that each part becomes
    tokens: Mapping[int, int]  # left <-> right
    landmarks: tuple[int, ...] = ()  # the landmark that each landmark becomes
    traits: tuple[int, ...] = ()  # and the trait


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """How far from the world's own look a training clip may stray."""

    mirror: float = 0.5
    recolour: float = 0.35
    scale: tuple[float, float] = (0.8, 1.25)
    degrees: float = 8.0
    shift: float = 0.08
    forget: float = 0.1  # captions left empty, for guidance


def augmented(batch: Batch, config: Augment, mirror: Mirror, rng: torch.Generator) -> Batch:
    """Mirror, move, recolour, and forget captions, each by its own chance."""
    device = batch.clean_NCHW.device
    flips = torch.rand(batch.clips, generator=rng) < config.mirror
    batch = _mirrored_names(batch, flips.to(device), mirror)
    placements = _placements(flips, config, rng).to(device)
    batch = _moved(batch, placements, len(mirror.landmarks))
    batch = _recoloured(batch, config.recolour, rng)
    forget = (torch.rand(batch.clips, 1, generator=rng) < config.forget).to(device)
    return replace(batch, tokens_BL=torch.where(forget, 0, batch.tokens_BL))


def _placements(flips_B: Tensor, config: Augment, rng: torch.Generator) -> Tensor:
    """Where each pixel of the new canvas lies on the old one: (B, 3, 3)."""
    b = len(flips_B)
    low, high = config.scale
    scale = 1 / (low + (high - low) * torch.rand(b, generator=rng))
    angle = (torch.rand(b, generator=rng) * 2 - 1) * config.degrees * torch.pi / 180
    shift = (torch.rand(b, 2, generator=rng) * 2 - 1) * config.shift
    sign = torch.where(flips_B, -1.0, 1.0)
    zero, one = torch.zeros(b), torch.ones(b)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = [cos * sign, -sin * sign, shift[:, 0], sin, cos, shift[:, 1], zero, zero, one]
    return torch.stack(rows, dim=1).reshape(b, 3, 3)


def _moved(batch: Batch, place_B33: Tensor, landmarks: int) -> Batch:
    """Resample pictures by p -> G p; a motion A becomes G^-1 A G."""
    t = batch.frames
    n, k = batch.affine_NK6.shape[:2]
    place_N33 = place_B33.repeat_interleave(t, dim=0)
    size = list(batch.clean_NCHW.shape)
    grid = F.affine_grid(place_N33[:, :2], size, align_corners=False)
    clean = F.grid_sample(batch.clean_NCHW, grid, align_corners=False)
    labels = torch.stack([batch.part_NHW.float(), batch.mask_NHW], dim=1)
    labels = F.grid_sample(labels, grid, mode="nearest", padding_mode="border", align_corners=False)
    inside = F.grid_sample(batch.mask_NHW[:, None], grid, mode="nearest", align_corners=False)
    motion = torch.eye(3).to(place_B33).repeat(n, k, 1, 1)
    motion[:, :, :2] += batch.affine_NK6.reshape(n, k, 2, 3)
    moved = torch.linalg.inv(place_N33)[:, None] @ motion @ place_N33[:, None]
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).to(place_B33)
    return replace(
        batch,
        clean_NCHW=clean,
        part_NHW=labels[:, 0].round().to(torch.uint8),
        mask_NHW=inside[:, 0],
        affine_NK6=moved[:, :, :2].reshape(n, k, 6) - identity,
        anatomy_BV=_carried(batch.anatomy_BV, place_B33, landmarks),
    )


def _carried(anatomy_BV: Tensor, place_B33: Tensor, landmarks: int) -> Tensor:
    """Landmarks at p lie at G^-1 p on the new canvas, and the art is as much larger."""
    if not anatomy_BV.shape[1]:
        return anatomy_BV
    points, size, traits = anatomy_BV.tensor_split([2 * landmarks, 2 * landmarks + 1], dim=1)
    back = torch.linalg.inv(place_B33)
    turned = points.reshape(-1, landmarks, 2) @ back[:, :2, :2].transpose(1, 2)
    grown = torch.linalg.det(back[:, :2, :2]).abs().sqrt()[:, None]
    moved = (turned + back[:, None, :2, 2]).flatten(1)
    return torch.cat([moved, size * grown, traits], dim=1)


def _mirrored_names(batch: Batch, flips_B: Tensor, mirror: Mirror) -> Batch:
    """Left becomes right in part numbers, motions and words of the flipped clips."""
    other = torch.tensor(mirror.parts, device=flips_B.device)
    flips_N = flips_B.repeat_interleave(batch.frames)
    part = torch.where(flips_N[:, None, None], other[batch.part_NHW.long()], batch.part_NHW.long())
    affine = torch.where(flips_N[:, None, None], batch.affine_NK6[:, other], batch.affine_NK6)
    words = batch.tokens_BL
    swapped = words
    for token, twin in mirror.tokens.items():
        swapped = torch.where(words == token, twin, swapped)
    return replace(
        batch,
        part_NHW=part.to(torch.uint8),
        affine_NK6=affine,
        tokens_BL=torch.where(flips_B[:, None], swapped, words),
        anatomy_BV=_mirrored_anatomy(batch.anatomy_BV, flips_B, mirror),
    )


def _mirrored_anatomy(anatomy_BV: Tensor, flips_B: Tensor, mirror: Mirror) -> Tensor:
    """The left hand becomes the right one; where it lies then, the placement says."""
    if not anatomy_BV.shape[1]:
        return anatomy_BV
    count = len(mirror.landmarks)
    order = [2 * twin + axis for twin in mirror.landmarks for axis in (0, 1)]
    order += [2 * count, *(2 * count + 1 + twin for twin in mirror.traits)]
    return torch.where(flips_B[:, None], anatomy_BV[:, order], anatomy_BV)


def _recoloured(batch: Batch, chance: float, rng: torch.Generator) -> Batch:
    """Permute red, green and blue, and bend their contrast, so that no colour means a part."""
    b, t = batch.clips, batch.frames
    chosen = torch.rand(b, generator=rng) < chance
    order = torch.argsort(torch.rand(b, 3, generator=rng), dim=1)
    order = torch.where(chosen[:, None], order, torch.arange(3))
    gain = torch.where(
        chosen[:, None], 0.6 + 0.4 * torch.rand(b, 3, generator=rng), torch.tensor(1.0)
    )
    colour = batch.clean_NCHW.reshape(b, t, *batch.clean_NCHW.shape[1:])
    order, gain = order.to(colour.device), gain.to(colour)
    index = order[:, None, :, None, None].expand(-1, t, -1, *colour.shape[-2:])
    rgb = torch.gather(colour[:, :, :3], 2, index) * gain[:, None, :, None, None]
    mixed = torch.cat([rgb, colour[:, :, 3:]], dim=2)
    return replace(batch, clean_NCHW=mixed.reshape(batch.clean_NCHW.shape))
