"""Points on the straight path between a clip and noise, and the steps back along it."""

# Shapes: B clips, then any; t in [0, 1], 0 the clean clip, 1 pure noise.

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minuet.contracts.errors import RequestError


def generator(*address: int) -> torch.Generator:
    """Randomness by address, the same on every machine: drawn on the CPU, never from a clock."""
    state = int(np.random.SeedSequence(address).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator("cpu").manual_seed(state)


def noise(seed: int, clip: int, shape: tuple[int, ...]) -> Tensor:
    """The standard normal noise that clip number `clip` of run `seed` starts from."""
    return torch.randn(shape, generator=generator(seed, clip))


def standard(like: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal noise of a tensor's shape, drawn on the CPU, wherever that tensor is."""
    return torch.randn(like.shape, generator=rng).to(like)


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


def linear_quadratic(steps: int, emulated: int) -> list[float]:
    """steps + 1 noise levels from 1 to 0, half of them as `emulated` even steps begin.

    Level i is 1 - f(i), f(i) = i / N + (1 - M / N) (max(0, i - L) / (M - L))^2 with M steps, N
    emulated, L = M // 2: linear up to f(L) = L / N, then quadratic with the same slope there, and
    f(M) = 1. Polyak et al. 2024 (arXiv 2410.13720), "linear-quadratic t-schedule", in closed form.
    A student of 4 to 8 steps wants N about 4 to 6 times M: with N = 1000 its first half would
    move next to nothing.
    """
    if not 1 <= steps <= emulated:
        raise RequestError(f"1 <= steps <= emulated is needed, got {steps} and {emulated}.")
    m, n, linear = steps, emulated, steps // 2
    late = [max(0, i - linear) / (m - linear) for i in range(m + 1)]
    return [1 - i / n - (1 - m / n) * late[i] ** 2 for i in range(m)] + [0.0]


def draw_levels(batch: int, rng: torch.Generator, pure: float = 0.35) -> Tensor:
    """Training levels: logit-normal about sigmoid(0.5); a share of them in [0.98, 1].

    Without that share the first step of a few-step sampler is one the network never saw.
    """
    t = torch.sigmoid(torch.randn(batch, generator=rng) + 0.5)
    high = 1 - 0.02 * torch.rand(batch, generator=rng)
    return torch.where(torch.rand(batch, generator=rng) < pure, high, t)


def draw_among(levels: Sequence[float], batch: int, rng: torch.Generator) -> Tensor:
    """Training levels (B,): these alone, as often as they stand here."""
    return torch.tensor(levels)[torch.randint(len(levels), (batch,), generator=rng)]
