"""A student -> the two modules that its user would export one by one, as a pipeline's parts are."""

# Shapes: T frames, N frames that are shown, K parts, S the side of the sticker, H = W = 64.

from typing import Any

import torch
from torch import Tensor, nn

from minuet.models.compose import Fields, compose, decided
from minuet.models.denoiser import Denoiser
from minuet.models.student import Student

FIELDS = ("affine", "parts", "dense", "gate", "paint")
NOISY = ("noisy", "level", "sticker", "tokens")


class Denoise(nn.Module):
    """What is asked at every step: all of the network, the sticker and the words too."""

    def __init__(self, network: Denoiser, *, shown: bool) -> None:
        super().__init__()
        self.network, self.shown = network, shown

    def forward(self, noisy: Tensor, level: Tensor, sticker: Tensor, tokens: Tensor) -> Any:
        """(1, T, 4, H, W), (1,), (1, 4, H, W), (1, L) -> the five fields."""
        ask = self.network.shown if self.shown else self.network.fields
        found = ask(noisy, level, sticker, self.network.encode(sticker, tokens))
        return _plain(found)


class Compose(nn.Module):
    """What is asked once a step at the working size, and once at the sticker's own."""

    def __init__(self, frames: int, *, last: bool) -> None:
        super().__init__()
        self.frames, self.last = frames, last

    def forward(self, sticker: Tensor, *rows: Tensor) -> Tensor:
        """(1, 4, S, S) and the fields -> premultiplied frames (N, 4, S, S) in [0, 1]."""
        fields = Fields(**dict(zip(_NAMES, rows, strict=True)))
        return compose(sticker, decided(fields) if self.last else fields, self.frames)


_NAMES = ("affine_NK6", "parts_NKHW", "dense_N2HW", "gate_N1HW", "paint_NCHW")


def _plain(fields: Fields) -> tuple[Tensor, ...]:
    return tuple(getattr(fields, name) for name in _NAMES)


def modules(student: Student, side: int) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """By name each module that a loop on the host calls, with inputs to trace it with."""
    network, config = student.network.eval(), student.network.config
    noisy = torch.zeros(1, config.frames, config.channels, config.side, config.side)
    small = torch.zeros(1, config.channels, config.side, config.side)
    level, tokens = torch.ones(1), torch.zeros(1, config.tokens, dtype=torch.int32)
    asked = (noisy, level, small, tokens)
    found: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
        "denoise": (Denoise(network, shown=True), asked),
    }
    with torch.no_grad():
        fields = found["denoise"][0](*asked)
    big = torch.zeros(1, config.channels, side, side)
    found["compose"] = (Compose(config.shown, last=True), (big, *fields))
    if student.sampler.steps > 1:
        found["between"] = (Denoise(network, shown=False), asked)
        with torch.no_grad():
            fields = found["between"][0](*asked)
        found["estimate"] = (Compose(config.frames, last=False), (small, *fields))
    return found
