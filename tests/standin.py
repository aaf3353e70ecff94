"""A small network with the animator's signature: every operator the students need, in miniature."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.tensors import Array, Signature, TensorSpec

# Shapes: B = 1 clip, T = 8 frames, C channels, S side of the sticker, L = 16 tokens, D width.

FRAMES = 8
LATENT = 64  # side of what is denoised
SIGMAS = (1.0, 0.6, 0.0)


def signature(size: int) -> Signature:
    """What animate takes and gives at one size."""
    image = TensorSpec(name="image", axes="BCHW", shape=(1, 4, size, size), dtype="float32")
    tokens = TensorSpec(name="tokens", axes="BL", shape=(1, 16), dtype="int32", low=0, high=31)
    noise = TensorSpec(
        name="noise", axes="BTCHW", shape=(1, FRAMES, 4, LATENT, LATENT), dtype="float32"
    )
    frames = TensorSpec(name="frames", axes="TCHW", shape=(FRAMES, 4, size, size), dtype="uint8")
    return Signature(inputs=(image, tokens, noise), outputs=(frames,))


class Block(nn.Module):
    """Residual block: channel norm, convolution, modulation; then attention by bmm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.attention_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.groups = nn.GroupNorm(4, width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.scale = nn.Linear(width, 2 * width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        h = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        a, b = self.scale(e)[:, :, None, None].chunk(2, 1)
        x = x + self.conv(F.silu(self.groups(h) * (1 + a) + b))
        n, c, height, width = x.shape
        t = self.attention_norm(x.flatten(2).transpose(1, 2).reshape(1, -1, c))
        parts = self.qkv(t).reshape(-1, 3, self.heads, c // self.heads).permute(1, 2, 0, 3)
        q, k, v = parts[0], parts[1], parts[2]
        weights = torch.bmm(q * (c // self.heads) ** -0.5, k.transpose(1, 2)).softmax(-1)
        y = self.out(torch.bmm(weights, v).transpose(0, 1).reshape(1, -1, c))
        back: Tensor = y.reshape(n, height, width, c).permute(0, 3, 1, 2)
        return x + back


class Standin(nn.Module):
    """animate(image, tokens, noise) -> frames: two steps, then one composition at full size."""

    def __init__(self, size: int, width: int = 16, depth: int = 1, patch: int = 8) -> None:
        super().__init__()
        self.size, self.patch = size, patch
        self.words = nn.Embedding(32, width)
        self.sigma = nn.Linear(1, width)
        self.frame = nn.Parameter(torch.randn(FRAMES, width) * 0.2)
        self.stem = nn.Conv2d(8 * patch**2, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width, 2) for _ in range(depth))
        self.head = nn.Conv2d(width, 7 * patch**2, 3, padding=1)
        self.grid_S: Tensor
        self.grid_L: Tensor
        self.register_buffer("grid_S", identity_grid(size))
        self.register_buffer("grid_L", identity_grid(LATENT))

    def predict(self, z: Tensor, first: Tensor, words: Tensor, sigma: float) -> Tensor:
        e = F.silu(words + self.sigma(torch.full((1, 1), sigma)) + self.frame)
        x = F.pixel_unshuffle(torch.cat([z, first.expand(FRAMES, -1, -1, -1)], 1), self.patch)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, e)
        fields: Tensor = self.head(x)
        return F.pixel_shuffle(fields, self.patch)

    def forward(self, image: Tensor, tokens: Tensor, noise: Tensor) -> Tensor:
        known = (tokens > 0).float()[..., None]
        words = (self.words(tokens) * known).sum(1) / known.sum(1).clamp(min=1)
        full = torch.cat([image[:, :3] * image[:, 3:], image[:, 3:]], 1) * 2 - 1
        first = F.interpolate(full, size=(LATENT, LATENT), mode="bilinear", align_corners=False)
        z = noise[0]
        fields = z
        for now, after in pairwise(SIGMAS):
            fields = self.predict(z, first, words, now)
            clean = compose(first, fields, self.grid_L)
            z = clean if after == 0 else z + (after - now) * (z - clean) / now
        wide = F.interpolate(fields, size=(self.size,) * 2, mode="bilinear", align_corners=False)
        frames = compose(full, wide, self.grid_S).clamp(-1, 1) * 0.5 + 0.5
        alpha = frames[:, 3:]
        straight = torch.cat([(frames[:, :3] / alpha.clamp(min=1 / 255)).clamp(0, 1), alpha], 1)
        return (straight * 255 + 0.5).to(torch.uint8)


def identity_grid(side: int) -> Tensor:
    """Pixel centres in -1..1, x then y, shape (1, side, side, 2)."""
    centres = (2 * torch.arange(side) + 1) / side - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], -1)[None]


def compose(still: Tensor, fields: Tensor, grid: Tensor) -> Tensor:
    """gate * warp(still, flow) + (1 - gate) * paint."""
    flow = torch.tanh(fields[:, :2]) * 0.3
    gate = torch.sigmoid(fields[:, 2:3] + 2)
    warped = F.grid_sample(
        still.expand(FRAMES, -1, -1, -1),
        grid + flow.permute(0, 2, 3, 1),
        padding_mode="border",
        align_corners=False,
    )
    return gate * warped + (1 - gate) * torch.tanh(fields[:, 3:])


def standin(size: int = 64, width: int = 16, depth: int = 1, patch: int = 8) -> Standin:
    """A seeded stand-in in eval mode."""
    torch.manual_seed(0)
    return Standin(size, width, depth, patch).eval()


def example(size: int = 64, seed: int = 0) -> dict[str, Array]:
    """One sticker-like input: a soft disc on transparency, four words, noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    alpha = np.clip((0.36 - np.hypot(x, y)) * 20, 0, 1)
    colour = 0.5 + 0.5 * np.sin(12 * np.stack([x + y, x - y, 2 * x]) + seed)
    image = np.concatenate([colour, alpha[None]])[None].astype(np.float32)
    tokens = np.zeros((1, 16), np.int32)
    tokens[0, :4] = rng.integers(1, 32, 4)
    noise = rng.standard_normal((1, FRAMES, 4, LATENT, LATENT)).astype(np.float32)
    return {"image": image, "tokens": tokens, "noise": noise}
