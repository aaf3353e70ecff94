"""What a teacher must answer, and a network of ours made to answer it."""

# Shapes: B clips, T frames, C = 4, H = W = 64, L tokens.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from minuet.distill.sample import sample
from minuet.models.compose import Fields
from minuet.models.denoiser import Denoiser


class Teacher(Protocol):
    """Anything that animates stickers."""

    @property
    def name(self) -> str:
        """What its clips are signed with."""
        ...

    def animate(self, sticker_BCHW: Tensor, tokens_BL: Tensor, noise_BTCHW: Tensor) -> Fields:
        """Stickers, captions, noise -> how every pixel moves."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTeacher:
    """A denoiser with its own many-step, guided sampler."""

    name: str
    network: Denoiser
    levels: Sequence[float]
    guidance: float
    bfloat16: bool = True

    def animate(self, sticker_BCHW: Tensor, tokens_BL: Tensor, noise_BTCHW: Tensor) -> Fields:
        """The last step's guided fields."""
        return sample(
            self.network,
            sticker_BCHW,
            tokens_BL,
            noise_BTCHW,
            self.levels,
            guidance=self.guidance,
            bfloat16=self.bfloat16,
        )
