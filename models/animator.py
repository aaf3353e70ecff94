"""The whole few-step pipeline as one program: (image, tokens, noise) -> frames."""

# Shapes: T frames, C = 4 RGBA, S the output's side, H = W = 64 the working size, L tokens.

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.models.compose import Fields, compose, decided, premultiply, render
from minuet.models.config import DenoiserConfig
from minuet.models.denoiser import Context, Denoiser
from minuet.models.stage import Stage

OUTPUT_SIDES = (64, 128, 256, 512)
RGBA = 4


class Animator(nn.Module):
    """Sampler, denoiser and composition together; an app makes one call and owns no scheduler.

    Denoises at 64 px and composes once at full size. Euler steps along the given noise levels;
    guidance is folded into the student, so each step is one evaluation. Guidance scales that the
    student is told are constants of the program.
    """

    levels: Tensor
    scales: Tensor | None

    def __init__(
        self,
        network: Denoiser,
        levels: Sequence[float],
        side: int,
        scales: Sequence[float] = (),
    ) -> None:
        super().__init__()
        if side not in OUTPUT_SIDES:
            raise RequestError(f"the output side is one of {OUTPUT_SIDES}, not {side}.")
        if network.config.head != "compose" or side % network.config.side:
            raise RequestError(
                f"this animator composes at whole multiples of the working size; the network has "
                f"head {network.config.head!r}, works at {network.config.side} px, {side} px asked."
            )
        if len(scales) != network.config.scales or not all(scale > 0 for scale in scales):
            raise RequestError(
                f"the network is told {network.config.scales} guidance scales above 0; "
                f"{list(scales)} were given."
            )
        self.network = network
        self.side = side
        self.pairs = tuple(pairwise(levels))
        self.denoise, self.compose = nn.ModuleList(Stage() for _ in self.pairs), Stage()
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        told = torch.tensor([scales]) if scales else None
        self.register_buffer("scales", told, persistent=False)

    def forward(self, image: Tensor, tokens: Tensor, noise: Tensor) -> Tensor:
        """Animate one sticker.

        Args:
            image: float32 (1, 4, S, S), straight RGBA in [0, 1].
            tokens: int32 (1, L), 0 pads.
            noise: float32 (1, T, 4, 64, 64), standard normal.

        Returns:
            uint8 (T, 4, S, S), straight RGBA; frame 0 is the image.
        """
        sticker = premultiply(image)
        small = self.shrink(sticker)
        context = self.network.encode(small, tokens, self.scales)
        noisy = noise
        for index in range(len(self.pairs) - 1):
            noisy = self.denoise[index](self.step, index, noisy, small, context)
        fields = self.denoise[-1](self.look, len(self.pairs) - 1, noisy, small, context)
        return self.compose(render, image, sticker, decided(fields))

    def shrink(self, sticker_BCSS: Tensor) -> Tensor:
        """The sticker at the working size, by the mean of each square."""
        factor = self.side // self.network.config.side
        return F.avg_pool2d(sticker_BCSS, factor) if factor > 1 else sticker_BCSS

    def look(self, index: int, noisy_BTCHW: Tensor, small_BCHW: Tensor, context: Context) -> Fields:
        """The clean clip's fields, seen from step `index`; the last step's, of all shown frames."""
        ask = self.network.fields if self.pairs[index][1] else self.network.shown
        return ask(noisy_BTCHW, self.levels[index : index + 1], small_BCHW, context)

    def step(self, index: int, noisy_BTCHW: Tensor, small_BCHW: Tensor, context: Context) -> Tensor:
        """One Euler step: z_s = x0 + (s / t) (z_t - x0)."""
        t, s = self.pairs[index]
        fields = self.look(index, noisy_BTCHW, small_BCHW, context)
        clean = compose(small_BCHW, fields, self.network.config.frames) * 2 - 1
        clean = clean.reshape(noisy_BTCHW.shape)
        return clean * (1 - s / t) + noisy_BTCHW * (s / t)

    def signature(self) -> Signature:
        """Names, axes, dtypes and conventions."""
        return signature_of(self.network.config, self.side)

    def example(self, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs of the right shapes, for capture."""
        return example_of(self.network.config, self.side, seed)


def signature_of(config: DenoiserConfig, side: int) -> Signature:
    """The signature of a program around a network: pixels outside, the network's noise inside."""
    image = TensorSpec(
        name="image",
        axes="BCHW",
        shape=(1, RGBA, side, side),
        dtype="float32",
        low=0.0,
        high=1.0,
        meaning="the sticker: RGBA, straight alpha, sRGB",
    )
    tokens = TensorSpec(
        name="tokens",
        axes="BL",
        shape=(1, config.tokens),
        dtype="int32",
        low=0,
        high=config.vocabulary - 1,
        meaning="the caption, as tokenizer.json encodes it; 0 pads",
    )
    noise = TensorSpec(
        name="noise",
        axes="BTCHW",
        shape=(1, config.frames, config.channels, config.side, config.side),
        dtype="float32",
        meaning="standard normal; each draw is another of the caption's futures",
    )
    frames = TensorSpec(
        name="frames",
        axes="TCHW",
        shape=(config.shown, RGBA, side, side),
        dtype="uint8",
        low=0,
        high=255,
        meaning="RGBA, straight alpha, sRGB; frame 0 is the sticker; loops",
    )
    return Signature(inputs=(image, tokens, noise), outputs=(frames,))


def example_of(config: DenoiserConfig, side: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A random picture, two words, noise."""
    rng = torch.Generator().manual_seed(seed)
    image = torch.rand(1, RGBA, side, side, generator=rng)
    tokens = torch.zeros(1, config.tokens, dtype=torch.int32)
    tokens[:, :2] = torch.tensor([2, 3])
    shape = (1, config.frames, config.channels, config.side, config.side)
    return image, tokens, torch.randn(shape, generator=rng)
