"""RGBA frames -> small latents -> RGBA frames: what the latent form of the denoiser works on."""

# Shapes: B clips, T frames, N = B * T, C = 4 premultiplied RGBA in [0, 1], H rows, W columns,
# Z latent channels, h = H / factor, w = W / factor.

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.models.layers import TemporalConv

FACTORS = (4, 8)
CHANNELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderConfig:
    """The shape of one autoencoder."""

    factor: int  # pixels a latent is wide
    latent: int  # channels of a latent
    width: int = 48
    blocks: int = 2  # at the latents' size, each way
    frames: int = 8

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise RequestError(f"an autoencoder's factor is one of {FACTORS}, not {self.factor}.")
        if min(self.latent, self.width, self.blocks, self.frames) < 1:
            raise RequestError(f"an autoencoder has at least one of everything: {self}.")


CODECS: dict[str, AutoencoderConfig] = {
    "f4": AutoencoderConfig(factor=4, latent=4),
    "f8": AutoencoderConfig(factor=8, latent=16, width=64),
}


class Block(nn.Module):
    """Two convolutions around a residual, without norms: flat art keeps its exact levels.

    Starts as the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y: Tensor = x_NCHW + self.second(F.silu(self.first(F.silu(x_NCHW))))
        return y


class Encoder(nn.Module):
    """A frame, by itself -> its latent, in (-1, 1): flow matching needs no statistics of it."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        width, halvings = config.width, config.factor.bit_length() - 1
        self.down = nn.ModuleList(
            [
                nn.Conv2d(width if step else CHANNELS, width, 3, stride=2, padding=1)
                for step in range(halvings)
            ]
        )
        self.blocks = nn.Sequential(*[Block(width) for _ in range(config.blocks)])
        self.out = nn.Conv2d(width, config.latent, 1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = x_NCHW * 2 - 1
        for index, down in enumerate(self.down):
            x = down(F.silu(x) if index else x)
        return torch.tanh(self.out(self.blocks(x)))


class Decoder(nn.Module):
    """A clip's latents -> its frames; neighbours in the loop help one another."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        width, doublings = config.width, config.factor.bit_length() - 1
        self.stem = nn.Conv2d(config.latent, width, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(width) for _ in range(config.blocks)])
        self.temporal = TemporalConv(width, config.frames)
        self.up = nn.ModuleList(
            [nn.Conv2d(width, width, 3, padding=1) for _ in range(doublings - 1)]
        )
        self.out = nn.Conv2d(width, 4 * CHANNELS, 3, padding=1)

    def forward(self, z_NZhw: Tensor) -> Tensor:
        x = self.temporal(self.blocks(self.stem(z_NZhw)))
        for up in self.up:
            x = up(F.interpolate(F.silu(x), scale_factor=2.0, mode="nearest"))
        # The last doubling costs a quarter of what a convolution at full size would.
        return F.pixel_shuffle(self.out(F.silu(x)), 2) * 0.5 + 0.5


class Autoencoder(nn.Module):
    """Frames of any size that divides by the factor, there and back."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, x_NCHW: Tensor) -> Tensor:
        """Premultiplied frames in [0, 1] -> latents (N, Z, h, w) in (-1, 1)."""
        latent: Tensor = self.encoder(x_NCHW)
        return latent

    def decode(self, z_NZhw: Tensor) -> Tensor:
        """Latents of whole clips -> premultiplied frames (N, C, H, W), about [0, 1], unclamped."""
        frames: Tensor = self.decoder(z_NZhw)
        return frames

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Whole clips as the autoencoder gives them back."""
        return self.decode(self.encode(x_NCHW))
