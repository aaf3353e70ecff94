"""A sticker's features -> where its parts and joints are, how large it is, and what it lacks."""

# Shapes: B clips, C channels, P the patch grid, Q the coarse one, R = 2 P, H = W = 4 P,
# K parts, M landmarks, J traits, V = 2 M + 1 + J.

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.models.compose import grid
from minuet.models.layers import ResBlock

SOFT = 0.01  # a third of a pixel of 64: closer than that, distances count as squares


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """What a motion has to know of a sticker."""

    points_BM2: Tensor  # joints, in the canvas's coordinates
    size_B1: Tensor  # of the art; steps and leaps grow with it
    traits_BJ: Tensor  # logits: has no arms, no eyes, a load in its left or right hand

    @property
    def lengths_BV(self) -> Tensor:
        """Everything that a shift can be linear in, and one: (B, 2 M + 2)."""
        one_B1 = torch.ones_like(self.size_B1)
        return torch.cat([self.points_BM2.flatten(1), self.size_B1, one_B1], dim=1)

    def __getitem__(self, clips_B: Tensor) -> "Anatomy":
        """Of some stickers."""
        return Anatomy(**{f.name: getattr(self, f.name)[clips_B] for f in _NAMES})


_NAMES = fields(Anatomy)


def joined(some: Sequence[Anatomy]) -> Anatomy:
    """Several batches' as one."""
    return Anatomy(**{f.name: torch.cat([getattr(one, f.name) for one in some]) for f in _NAMES})


def known_anatomy(label_BV: Tensor, landmarks: int, certainty: float = 8.0) -> Anatomy:
    """A label as the network would say it."""
    points, size, traits = label_BV.split(
        [2 * landmarks, 1, label_BV.shape[1] - 2 * landmarks - 1], dim=1
    )
    return Anatomy(
        points_BM2=points.reshape(-1, landmarks, 2),
        size_B1=size,
        traits_BJ=(traits * 2 - 1) * certainty,
    )


class AnatomyReader(nn.Module):
    """A map a landmark, whose mean place it is, and a step from there; the rest from the mean.

    Mean places of maps: Levine et al. 2016 (arXiv 1504.00702), sec. 5.1.
    """

    places: Tensor

    def __init__(self, channels: int, landmarks: int, traits: int, side: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, landmarks, 1)
        self.value = nn.Linear(channels, channels)
        self.step = nn.Sequential(nn.SiLU(), nn.Linear(channels, 2))
        self.which = nn.Parameter(torch.zeros(landmarks, channels))
        self.whole = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.SiLU(), nn.Linear(channels, 1 + traits)
        )
        self.register_buffer("places", grid(side)[:2].flatten(1), persistent=False)

    def forward(self, found_BCRR: Tensor, coarse_BCQQ: Tensor) -> Anatomy:
        """Features in which parts are told apart, and the sticker's coarse ones (2 C)."""
        weights_BMR = torch.softmax(self.maps(found_BCRR).flatten(2), dim=-1)
        # Summed, not multiplied as matrices: under autocast these would round to 8 bits.
        seen_at = (weights_BMR[:, :, None, :].float() * self.places).sum(-1)
        seen_BMC = torch.matmul(weights_BMR, found_BCRR.flatten(2).transpose(1, 2))
        whole = self.whole(coarse_BCQQ.mean((2, 3))).float()
        return Anatomy(
            points_BM2=seen_at + self.step(self.value(seen_BMC) + self.which).float(),
            size_B1=whole[:, :1],
            traits_BJ=whole[:, 1:],
        )


class PartFinder(nn.Module):
    """Which part each pixel of a sticker belongs to: looked at once a clip, at no noise."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.up = nn.Conv2d(2 * channels, 4 * channels, 1)
        self.body = nn.ModuleList([ResBlock(2 * channels, channels), ResBlock(channels, channels)])
        self.shuffle = nn.Conv2d(channels, 4 * channels, 1)
        self.out = nn.Conv2d(channels, 4 * parts, 3, padding=1)

    def forward(self, fine_BCPP: Tensor, coarse_BCQQ: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K, H, W), and the features that they come from (B, C, R, R)."""
        x = torch.cat([fine_BCPP, F.pixel_shuffle(self.up(coarse_BCQQ), 2)], dim=1)
        for block in self.body:
            x = block(x)
        x = F.silu(F.pixel_shuffle(self.shuffle(x), 2))
        return F.pixel_shuffle(self.out(x), 2), x


def anatomy_losses(found: Anatomy, label_BV: Tensor) -> dict[str, Tensor]:
    """points: distance of landmarks and size; traits: cross-entropy of what it lacks.

    Not squared: a joint has to be right to a third of a pixel, where squares have stopped pulling.
    """
    true = known_anatomy(label_BV, found.points_BM2.shape[1], certainty=1.0)
    apart = (found.points_BM2 - true.points_BM2).square().sum(2).add(SOFT**2).sqrt() - SOFT
    size = F.smooth_l1_loss(found.size_B1, true.size_B1, beta=SOFT)
    traits = F.binary_cross_entropy_with_logits(found.traits_BJ, true.traits_BJ * 0.5 + 0.5)
    return {"points": apart.mean() + size, "traits": traits}
