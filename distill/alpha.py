"""A decoder of RGB latents -> one that gives alpha too; encoder and latents stay as they are.

Text-to-Sticker (Sinha et al. 2023, arXiv 2311.10794): the last convolution gets one more output,
which begins as the mean of red, green and blue, and the decoder is tuned on pictures with alpha.
"""

# Shapes: N frames, C = 4 premultiplied RGBA, H, W; Z latent channels, h, w.

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.distill.predict import Lesson

RGB = 3


def add_alpha(decoder: nn.Module) -> nn.Module:
    """Widen the decoder's last convolution in place, and give the decoder back.

    Raises:
        RequestError: its last convolution does not give red, green and blue.
    """
    rows = [(n, m) for n, m in decoder.named_modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    name, last = rows[-1] if rows else ("", None)
    if last is None or last.out_channels != RGB or last.groups != 1:
        found = "there is none" if last is None else f"{name!r} gives {last.out_channels}"
        raise RequestError(f"alpha joins a last convolution of {RGB} channels; {found}.")
    with torch.no_grad():
        last.weight = nn.Parameter(torch.cat([last.weight, last.weight.mean(0, keepdim=True)]))
        if last.bias is not None:
            last.bias = nn.Parameter(torch.cat([last.bias, last.bias.mean(0, keepdim=True)]))
    last.out_channels = RGB + 1
    return decoder


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaDecoding:
    """Pictures over white there and back, and the alpha that the encoder never saw."""

    encode: Callable[[Tensor], Tensor]  # RGB (N, 3, H, W) in [-1, 1] -> what the decoder takes
    alpha: float = 1.0

    def __call__(
        self, network: nn.Module, lesson: Lesson, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Lessons are premultiplied RGBA in [-1, 1], pictures or clips of them."""
        rgba_NCHW = lesson.x0.flatten(0, -4) * 0.5 + 0.5
        shown = rgba_NCHW[:, :RGB] + 1 - rgba_NCHW[:, RGB:]
        with torch.no_grad():
            latents = self.encode(shown * 2 - 1)
        again = network(latents) * 0.5 + 0.5
        losses = {
            "pixels": (again[:, :RGB] - shown).abs().mean(),
            "alpha": (again[:, RGB:] - rgba_NCHW[:, RGB:]).abs().mean(),
        }
        return losses["pixels"] + self.alpha * losses["alpha"], losses


def premultiplied(decoded_NCHW: Tensor) -> Tensor:
    """What such a decoder gives, in [-1, 1] over white -> premultiplied RGBA in [0, 1]."""
    seen = (decoded_NCHW * 0.5 + 0.5).clamp(0, 1)
    colour, alpha = seen[:, :RGB], seen[:, RGB:]
    return torch.cat([(colour - (1 - alpha)).clamp(min=0).minimum(alpha), alpha], dim=1)
