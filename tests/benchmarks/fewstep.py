"""A two-step sampler in miniature, with a pipeline's every habit, to plant faults in."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.tensors import Array, Arrays, Signature, TensorSpec

# Shapes: T frames, C = 4 channels (red, green, blue, alpha), S side, D width.

FRAMES, SIDE, WIDTH = 2, 16, 16
TIMES, GUIDANCE, SCALE = (999.0, 500.0), 3.0, 0.5


def signature() -> Signature:
    noise = TensorSpec(name="noise", axes="TCHW", shape=(FRAMES, 4, SIDE, SIDE), dtype="float32")
    words = TensorSpec(name="words", axes="BD", shape=(1, WIDTH), dtype="float32")
    latents = TensorSpec(
        name="latents", axes="TCHW", shape=(FRAMES, 4, SIDE, SIDE), dtype="float32"
    )
    frames = TensorSpec(name="frames", axes="TCHW", shape=(FRAMES, 4, SIDE, SIDE), dtype="uint8")
    return Signature(inputs=(noise, words), outputs=(latents, frames))


def example(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((FRAMES, 4, SIDE, SIDE)).astype(np.float32)
    return {"noise": noise, "words": rng.standard_normal((1, WIDTH)).astype(np.float32)}


def sinusoids(t: Tensor) -> Tensor:
    half = WIDTH // 2
    phase = t * torch.exp(-math.log(10_000) * torch.arange(half, dtype=t.dtype) / half)
    return torch.cat([phase.cos(), phase.sin()])


class Denoiser(nn.Module):
    def __init__(self, loud: float = 1.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, WIDTH, 3, padding=1)
        self.time, self.words = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.middle = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.groups = nn.GroupNorm(4, WIDTH)
        self.head = nn.Conv2d(WIDTH, 4, 3, padding=1)
        with torch.no_grad():
            self.middle.weight *= loud  # the norm behind it divides by as much

    def forward(self, x_TCHW: Tensor, words: Tensor, t: Tensor) -> Tensor:
        told = self.time(sinusoids(t)[None]) + self.words(words)
        h = F.silu(self.stem(x_TCHW) + told[:, :, None, None])
        denoised: Tensor = self.head(F.silu(h + self.groups(self.middle(h))))
        return denoised


class Fewstep(nn.Module):
    """noise, words -> latents, frames: guidance, two Euler steps, decoding, all in one program."""

    def __init__(self, loud: float = 1.0) -> None:
        super().__init__()
        self.denoiser = Denoiser(loud)
        self.decoder = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, noise: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        x = noise
        for t in TIMES:
            told = self.denoiser(x, words, torch.tensor(t))
            untold = self.denoiser(x, torch.zeros_like(words), torch.tensor(t))
            x = x - (untold + GUIDANCE * (told - untold)) / len(TIMES)
        frames = torch.sigmoid(self.decoder(x / SCALE))
        return x, (frames * 255 + 0.5).to(torch.uint8)


def fewstep(seed: int = 0, loud: float = 1.0) -> Fewstep:
    """Seeded: loudness leaves every other weight as it was."""
    torch.manual_seed(seed)
    return Fewstep(loud).eval()


def time_bias(module: Fewstep, t: float) -> Array:
    """What a time adds to every channel, shape (1, WIDTH): exporters fold it to a constant."""
    with torch.inference_mode():
        folded: Array = module.denoiser.time(sinusoids(torch.tensor(t))[None]).numpy()
    return folded
