"""The few-step pipeline over an autoencoder's latents: (image, tokens, noise) -> frames."""

# Shapes: T frames, S the output's side, Z latent channels, h = w = S / factor, L tokens.

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Signature
from minuet.models.animator import example_of, signature_of
from minuet.models.autoencoder import Autoencoder
from minuet.models.compose import premultiply, unpremultiply
from minuet.models.denoiser import Context, Denoiser
from minuet.models.stage import Stage


class LatentAnimator(nn.Module):
    """Encoder, sampler, denoiser and decoder together, with the call of the composing Animator.

    The noise has the latents' shape. The output's side is the network's times the factor: another
    side is another network. Frame 0 is the given image, not its reconstruction.
    """

    levels: Tensor

    def __init__(self, network: Denoiser, codec: Autoencoder, levels: Sequence[float]) -> None:
        super().__init__()
        c, a = network.config, codec.config
        if c.head != "latent" or c.channels != a.latent or c.frames != a.frames:
            raise RequestError(
                f"a latent animator needs a network with head 'latent' over {a.latent} channels "
                f"and {a.frames} frames; this one has {c.head!r}, {c.channels} and {c.frames}."
            )
        self.network, self.codec = network, codec
        self.side = c.side * a.factor
        self.pairs = tuple(pairwise(levels))
        self.denoise, self.decode = nn.ModuleList(Stage() for _ in self.pairs), Stage()
        self.register_buffer("levels", torch.tensor(levels), persistent=False)

    def forward(self, image: Tensor, tokens: Tensor, noise: Tensor) -> Tensor:
        """Animate one sticker.

        Args:
            image: float32 (1, 4, S, S), straight RGBA in [0, 1].
            tokens: int32 (1, L), 0 pads.
            noise: float32 (1, T, Z, h, w), standard normal.

        Returns:
            uint8 (T, 4, S, S), straight RGBA; frame 0 is the image.
        """
        sticker = premultiply(image)
        first = self.codec.encode(sticker)
        context = self.network.encode(first * 0.5 + 0.5, tokens)
        noisy = noise
        for index in range(len(self.pairs)):
            noisy = self.denoise[index](self.step, index, noisy, first, context)
        frames = self.decode(self.codec.decode, noisy.reshape(-1, *noisy.shape[2:]))
        frames = torch.cat([sticker, frames[1:]], dim=0)
        return (unpremultiply(frames) * 255 + 0.5).to(torch.uint8)

    def step(self, index: int, noisy_BTZhw: Tensor, first_BZhw: Tensor, context: Context) -> Tensor:
        """One Euler step: z_s = x0 + (s / t) (z_t - x0), with x0 = first + residual."""
        t, s = self.pairs[index]
        level = self.levels[index : index + 1]
        moved = self.network.residual(noisy_BTZhw, level, first_BZhw * 0.5 + 0.5, context)
        clean = first_BZhw[:, None] + moved
        return clean * (1 - s / t) + noisy_BTZhw * (s / t) if s else clean

    def signature(self) -> Signature:
        """Names, axes, dtypes and conventions."""
        return signature_of(self.network.config, self.side)

    def example(self, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs of the right shapes, for capture."""
        return example_of(self.network.config, self.side, seed)
