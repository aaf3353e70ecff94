"""A network in miniature: two steps that share convolutions and linear layers."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional as F

from minuet.contracts.tensors import Array
from minuet.quantize.calibrate import Method
from minuet.quantize.recipe import Recipe, treatments

LAYERS = ("stem", "mlp", "film", "out")


class Tiny(nn.Module):
    """(1, 3, 8, 8) -> (1, 3, 8, 8), called twice with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.mlp = nn.Linear(16, 16)
        self.film = nn.Linear(1, 16)
        self.out = nn.Conv2d(16, 3, 3, padding=1)

    def step(self, x: Tensor, level: float) -> Tensor:
        h = self.stem(x) + self.film(torch.full((1, 1), level))[:, :, None, None]
        h = F.silu(F.layer_norm(h.permute(0, 2, 3, 1), (16,)))
        h = h + self.mlp(h)
        y: Tensor = self.out(h.permute(0, 3, 1, 2))
        return y

    def forward(self, image: Tensor) -> Tensor:
        return torch.tanh(self.step(self.step(image, 1.0) + image, 0.5))


def network(seed: int = 0) -> Tiny:
    """A seeded network in eval mode, its weights such as float16 can hold."""
    torch.manual_seed(seed)
    made = Tiny().eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.copy_(parameter.half().float())
    return made


def captured(module: nn.Module) -> tuple[ExportedProgram, tuple[Tensor, ...]]:
    """Its program, and the example it was captured with."""
    example = (torch.from_numpy(next(clips(1))["image"]),)
    return torch.export.export(module, example, strict=False), example


def clips(count: int, seed: int = 0, side: int = 8) -> Iterator[dict[str, Array]]:
    """Seeded inputs."""
    for at in range(count):
        rng = np.random.default_rng((seed, at))
        yield {"image": rng.standard_normal((1, 3, side, side)).astype(np.float32)}


def recipe(keep_float: tuple[str, ...] = (), keep_activations: tuple[str, ...] = ()) -> Recipe:
    """What is asked of the tiny network."""
    return Recipe(
        scheme="int8",
        keep_float=keep_float,
        keep_activations=keep_activations,
        layers=treatments(LAYERS, keep_float, keep_activations),
        method=Method(),
        clips=4,
        seed=0,
        student_sha256="0" * 64,
    )


def db(reference: Array, found: Array) -> float:
    """Signal over error, in dB."""
    error = np.square(reference - found).mean()
    return float(10 * np.log10(np.square(reference).mean() / max(error, 1e-30)))
