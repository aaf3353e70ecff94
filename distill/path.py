"""Points on the straight path between a clip and noise, and the steps back along it."""

# Shapes: B clips, then any; t in [0, 1], 0 the clean clip, 1 pure noise.

import numpy as np
import torch
from torch import Tensor


def generator(*address: int) -> torch.Generator:
    """Randomness by address, the same on every machine: drawn on the CPU, never from a clock."""
    state = int(np.random.SeedSequence(address).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator("cpu").manual_seed(state)


def noise(seed: int, clip: int, shape: tuple[int, ...]) -> Tensor:
    """The standard normal noise that clip number `clip` of run `seed` starts from."""
    return torch.randn(shape, generator=generator(seed, clip))


def at(t_B: Tensor, like: Tensor) -> Tensor:
    """Levels (B,) shaped to multiply a tensor of any rank."""
    return t_B.to(like).reshape(-1, *([1] * (like.ndim - 1)))


def noised(clean: Tensor, noise_: Tensor, t_B: Tensor) -> Tensor:
    """z_t = (1 - t) x0 + t e. Liu et al. 2022 (arXiv 2209.03003), eq. 1, time reversed."""
    t = at(t_B, clean)
    return (1 - t) * clean + t * noise_


def euler(z: Tensor, clean: Tensor, t: float, s: float) -> Tensor:
    """One Euler step from level t to s < t of the flow whose clean estimate is given.

    dz/dt = (z - x0) / t is constant along a straight path, hence z_s = x0 + (s / t) (z - x0).
    """
    return clean if s == 0 else clean + (s / t) * (z - clean)


def levels(steps: int, shift: float) -> list[float]:
    """steps + 1 noise levels from 1 to 0; shift > 1 dwells where the motion is decided.

    Esser et al. 2024 (arXiv 2403.03206), eq. 23.
    """
    uniform = [1 - i / steps for i in range(steps + 1)]
    return [shift * u / (1 + (shift - 1) * u) for u in uniform]


def draw_levels(batch: int, rng: torch.Generator, pure: float = 0.35) -> Tensor:
    """Training levels: logit-normal about sigmoid(0.5); a share of them in [0.98, 1].

    Without that share the first step of a few-step sampler is one the network never saw.
    """
    t = torch.sigmoid(torch.randn(batch, generator=rng) + 0.5)
    high = 1 - 0.02 * torch.rand(batch, generator=rng)
    return torch.where(torch.rand(batch, generator=rng) < pure, high, t)
