"""Eager networks of known depth -> how far each arithmetic is from float64, whoever runs it.

    python -m minuet.benchmarks.noise_floor

prints the rows of FLOORS in tolerances.py, measured anew.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.benchmarks.parity import difference
from minuet.benchmarks.parity_graph import ARITHMETIC, depth, outputs

# Shapes: T frames, C channels, H rows, W columns, D width.

DEPTHS = (8, 32, 128)  # contractions one after another: a codec, a small denoiser, several steps
SEEDS = (0, 1, 2, 3)
WIDTH, SIDE, STICKER, FRAMES = 32, 16, 128, 4


class Residual(nn.Module):
    """Two contractions: x + conv(conv(silu(group norm))) or x + out(attention(layer norm))."""

    def __init__(self, width: int, attends: bool) -> None:
        super().__init__()
        self.attends = attends
        self.groups, self.norm = nn.GroupNorm(4, width), nn.LayerNorm(width)
        self.time = nn.Linear(width, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_TCHW: Tensor, e_D: Tensor) -> Tensor:
        shift_C = self.time(e_D)
        if not self.attends:
            h = self.first(F.silu(self.groups(x_TCHW))) + shift_C[:, None, None]
            convolved: Tensor = self.second(F.silu(h))
            return x_TCHW + convolved
        t, c, h, w = x_TCHW.shape
        q, k, v = self.qkv(self.norm(x_TCHW.flatten(2).transpose(1, 2)) + shift_C).chunk(3, -1)
        weights = torch.bmm(q * c**-0.5, k.transpose(1, 2)).softmax(-1)
        back: Tensor = self.out(torch.bmm(weights, v)).transpose(1, 2)
        return x_TCHW + back.reshape(t, c, h, w)


class Deep(nn.Module):
    """Residual blocks up to a depth, then both kinds of output: fields, and a warped sticker."""

    def __init__(self, contractions: int, attends: bool) -> None:
        super().__init__()
        each = 4 if attends else 2
        self.stem, self.head = nn.Conv2d(4, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 7, 3, padding=1)
        count = max(1, (contractions - 2) // each)
        self.blocks = nn.ModuleList(Residual(WIDTH, attends) for _ in range(count))
        self.grid: Tensor
        self.sticker: Tensor
        self.register_buffer("grid", pixel_centres())
        self.register_buffer("sticker", disc())

    def forward(self, x_TCHW: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Fields of (T, 7, H, W); frames of (T, 4, STICKER, STICKER), uint8 RGBA.

        Frames are gate * warp(sticker, flow) + (1 - gate) * paint: a hard edge that moves, which
        is where small differences show most.
        """
        x_TCHW, e_D = self.stem(x_TCHW), time_embedding(t)
        for block in self.blocks:
            x_TCHW = block(x_TCHW, e_D)
        fields = self.head(x_TCHW)
        wide = F.interpolate(fields, size=(STICKER, STICKER), mode="bilinear", align_corners=False)
        places = self.grid + 0.3 * torch.tanh(wide[:, :2]).permute(0, 2, 3, 1)
        still = self.sticker.expand(FRAMES, -1, -1, -1)
        warped = F.grid_sample(still, places, padding_mode="border", align_corners=False)
        gate = torch.sigmoid(wide[:, 2:3] + 2)
        frames = gate * warped + (1 - gate) * torch.sigmoid(wide[:, 3:])
        return fields, (frames * 255 + 0.5).to(torch.uint8)


def time_embedding(t: Tensor) -> Tensor:
    """Sinusoids of t in 0..1000 (Ho et al. 2020): a phase of hundreds, which float32 can feel."""
    half = WIDTH // 2
    phase = t * torch.exp(-math.log(10_000) * torch.arange(half) / half)
    return torch.cat([phase.cos(), phase.sin()])


def pixel_centres() -> Tensor:
    """x and y in -1..1, shape (1, STICKER, STICKER, 2)."""
    centres = (2 * torch.arange(STICKER) + 1) / STICKER - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], -1)[None]


def disc() -> Tensor:
    """A striped disc on transparency, RGBA in 0..1, shape (1, 4, STICKER, STICKER)."""
    x, y = pixel_centres()[0].unbind(-1)
    stripes = [0.5 + 0.5 * torch.sin(12 * one) for one in (x + y, x - y, 2 * x)]
    return torch.stack([*stripes, (x.hypot(y) < 0.7).float()])[None]


def measure(contractions: int, seeds: Sequence[int] = SEEDS) -> dict[tuple[str, str], float]:
    """The worst dB over seeds and both kinds of network, by arithmetic and metric."""
    worst: dict[tuple[str, str], float] = {}
    for program, inputs in programs(contractions, seeds):
        oracle = outputs(program, inputs)
        for name in ARITHMETIC:
            if name == "fp64":
                continue
            for expected, found in zip(oracle, outputs(program, inputs, name), strict=True):
                one = difference(expected, found)
                key = name, one.metric
                worst[key] = min(worst.get(key, np.inf), one.db)
    return worst


def programs(
    contractions: int, seeds: Sequence[int]
) -> Iterable[tuple[Any, tuple[Tensor, Tensor]]]:
    """Captured networks of one depth with seeded weights and inputs."""
    for seed in seeds:
        for attends in (False, True):
            torch.manual_seed(seed)
            inputs = torch.randn(FRAMES, 4, SIDE, SIDE), torch.tensor(999.0 - 100 * seed)
            module = Deep(contractions, attends).eval()
            yield torch.export.export(module, inputs, strict=False), inputs


def main() -> None:
    """Print one row for each arithmetic and metric, one column for each depth."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    seeds = range(parser.parse_args().seeds)
    for contractions in DEPTHS:
        program, _ = next(iter(programs(contractions, (0,))))
        print(f"# depth {contractions}: {depth(program)} contractions on the longest path")
    found = {contractions: measure(contractions, seeds) for contractions in DEPTHS}
    for key in found[DEPTHS[0]]:
        row = ", ".join(f"{found[contractions][key]:.1f}" for contractions in DEPTHS)
        print(f'    ("{key[0]}", "{key[1]}"): ({row}),')


if __name__ == "__main__":
    main()
