"""A clip -> how much it looks like a teacher's: small trained heads on features that stay frozen.

Sauer et al. 2023 (arXiv 2311.17042): heads on every level of a frozen network, each
judging every place. Singer et al. 2024 (arXiv 2403.09334): an editing critic fuses its
conditions in one attention layer, a video critic looks along each pixel's time in one.
"""

# Shapes: B clips, T frames, N = B * T, C channels, H, W, P places of a map, w width of a head,
# D width of the condition, k judgements of a clip.

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from minuet.models.layers import ChannelNorm

Network = TypeVar("Network", bound=nn.Module)
Features = Callable[[Tensor], Sequence[Tensor]]  # images NCHW in [-1, 1] -> maps NCHW
CELLS = 8  # a larger map is averaged to this side before it is judged


class Fusion(nn.Module):
    """Residual attention of tokens over themselves and over what else they are given."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BNw: Tensor, given_BMw: Tensor) -> Tensor:
        """Tokens (B, N, w), given ones (B, M, w) -> tokens; neither count is fixed."""
        y = self.norm(x_BNw)
        key, value = self.key_value(torch.cat([y, given_BMw], dim=1)).chunk(2, dim=-1)
        split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (key, value)]
        query = self.query(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        seen = F.scaled_dot_product_attention(query, *split).transpose(1, 2).flatten(2)
        fused: Tensor = x_BNw + self.out(seen)
        return fused


class Head(nn.Module):
    """One level's judgement of every place of every frame."""

    def __init__(
        self, channels: int, width: int, heads: int, *, condition: int, temporal: bool
    ) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.project = spectral_norm(nn.Conv2d(channels, width, 1))
        self.time = Fusion(width, heads) if temporal else None
        self.when = nn.Linear(2, width) if temporal else None
        self.told = nn.Linear(condition, width) if condition else None
        self.fuse = Fusion(width, heads) if condition else None
        self.judge = spectral_norm(nn.Linear(width, 1))

    def forward(self, map_NCHW: Tensor, frames: int, condition_BD: Tensor | None) -> Tensor:
        """(B, T * P)."""
        x = F.leaky_relu(self.project(self.norm(map_NCHW)), 0.2)
        x_BTPw = x.flatten(2).transpose(1, 2).unflatten(0, (-1, frames))
        if self.time is not None:
            x_BTPw = self._along_time(x_BTPw)
        told = None
        if self.fuse is not None and self.told is not None and condition_BD is not None:
            told = self.told(condition_BD).repeat_interleave(frames, dim=0)[:, None]
            x_BTPw = self.fuse(x_BTPw.flatten(0, 1), told).unflatten(0, (-1, frames))
        logits: Tensor = self.judge(F.leaky_relu(x_BTPw, 0.2))[..., 0]
        if told is not None:  # Miyato and Koyama 2018 (arXiv 1802.05637), eq. 3
            told_BT1w = told.unflatten(0, (-1, frames))
            logits = logits + (x_BTPw * told_BT1w).mean(-1)
        return logits.flatten(1)

    def _along_time(self, x_BTPw: Tensor) -> Tensor:
        """Each place attends to its own past and future; a sine and a cosine tell the frame."""
        assert self.time is not None and self.when is not None
        b, t, p, _ = x_BTPw.shape
        angle = torch.arange(t) * (2 * torch.pi / t)
        when = self.when(torch.stack([angle.sin(), angle.cos()], dim=-1).to(x_BTPw))
        x = (x_BTPw + when[:, None]).transpose(1, 2).flatten(0, 1)
        attended: Tensor = self.time(x, x[:, :0]).unflatten(0, (b, p)).transpose(1, 2)
        return attended


class Critic(nn.Module):
    """Frozen features, trained heads: a clip (or single images) and a condition -> logits.

    Args:
        features: images (N, C, H, W) in [-1, 1] -> maps, as many as `channels` names. It is no
            part of this module: neither trained nor saved with it, and its device is the caller's
            affair; `frozen` makes one of a network.
        condition: width D of what the critic is told (the picture's own features, an
            instruction); 0: it is told nothing.
        temporal: attention along each pixel's time, for a critic of motion.
    """

    def __init__(
        self,
        features: Features,
        channels: Sequence[int],
        *,
        condition: int = 0,
        temporal: bool = False,
        width: int = 64,
        attention_heads: int = 4,
    ) -> None:
        super().__init__()
        self._features = [features]  # a list hides it from state_dict and parameters
        self.heads = nn.ModuleList(
            Head(c, width, attention_heads, condition=condition, temporal=temporal)
            for c in channels
        )

    def forward(self, clip_BTCHW: Tensor, condition_BD: Tensor | None = None) -> Tensor:
        """Logits (B, k), high for what looks real. Images (B, C, H, W) are clips of one frame."""
        clip = clip_BTCHW if clip_BTCHW.ndim == 5 else clip_BTCHW[:, None]
        maps = self._features[0](clip.flatten(0, 1))
        judged = [
            head(shrunk(map_), clip.shape[1], condition_BD)
            for head, map_ in zip(self.heads, maps, strict=True)
        ]
        return torch.cat(judged, dim=1)


def shrunk(map_NCHW: Tensor) -> Tensor:
    """A map of at most CELLS a side."""
    height, width = (min(CELLS, side) for side in map_NCHW.shape[-2:])
    return F.adaptive_avg_pool2d(map_NCHW, (height, width))


def frozen(network: Network) -> Network:
    """The network itself, never to be trained again; gradients still pass through it."""
    return network.requires_grad_(False).eval()


@contextmanager
def untrained(network: nn.Module) -> Iterator[None]:
    """Inside, gradients pass through the network and none stays in it: for the other's turn."""
    asked = [p for p in network.parameters() if p.requires_grad]
    for parameter in asked:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E[relu(1 - D(real))] + E[relu(1 + D(fake))]. Lim and Ye 2017 (arXiv 1705.02894)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_student(fake: Tensor) -> Tensor:
    """-E[D(fake)].

    arXiv 2403.09334 prints -E[relu(1 + D(fake))], which has no gradient where D(fake) < -1:
    just where the critic is surest, hence the usual form here.
    """
    return -fake.mean()


def softplus_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic loss of the critic. Goodfellow et al. 2014 (arXiv 1406.2661), eq. 1."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def softplus_student(fake: Tensor) -> Tensor:
    """Its non-saturating answer, as DMD2 has it (Yin et al. 2024, arXiv 2405.14867)."""
    return F.softplus(-fake).mean()
