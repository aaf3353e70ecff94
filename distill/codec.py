"""What an autoencoder learns, and how a denoiser learns over its latents."""

# Shapes: as in batch.py; Z latent channels, h = H / factor, w = W / factor.

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.distill.augment import Augment, Mirror, augmented
from minuet.distill.batch import Batch
from minuet.distill.losses import clip_loss
from minuet.distill.path import draw_levels, noised, standard
from minuet.distill.predict import Condition, in_bfloat16
from minuet.models.autoencoder import Autoencoder
from minuet.models.denoiser import Denoiser


def gradient_loss(x_NCHW: Tensor, clean_NCHW: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbouring pixels, across and down.

    The gradient difference loss of Mathieu et al. 2016 (arXiv 1511.05440), eq. 6, with alpha = 1
    and with signed differences: an edge has a direction.
    """
    error = x_NCHW - clean_NCHW
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """Frames there and back: L1, edges, and alpha once more.

    The latents are jittered: a denoiser's answers are never exact, and neighbouring latents must
    mean neighbouring pictures.
    """

    augment: Augment
    mirror: Mirror
    edges: float = 1.0
    alpha: float = 1.0
    jitter: float = 0.03  # of a latent's (-1, 1)
    bfloat16: bool = True

    def __call__(
        self, network: nn.Module, batch: Batch, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(network, Autoencoder)
        clean = augmented(batch, self.augment, self.mirror, rng).clean_NCHW
        with in_bfloat16(self.bfloat16, clean):
            latent = network.encode(clean)
            noise = torch.randn(latent.shape, generator=rng).to(latent.device)
            shaken = latent + self.jitter * noise
            again = network.decode(shaken)
        again = again.float()
        losses = {
            "pixels": (again - clean).abs().mean(),
            "edges": gradient_loss(again, clean),
            "alpha": (again[:, 3] - clean[:, 3]).abs().mean(),
        }
        return losses["pixels"] + self.edges * losses["edges"] + self.alpha * losses[
            "alpha"
        ], losses


class LatentPredictor(nn.Module):
    """A latent denoiser with its autoencoder as a predictor: noisy latents -> clean ones."""

    def __init__(self, network: Denoiser, codec: Autoencoder) -> None:
        super().__init__()
        self.network, self.codec = network, codec

    def forward(self, noisy_BTZhw: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """Conditions: sticker (premultiplied, [0, 1], at the pixels' size) and tokens."""
        first = self.codec.encode(condition["sticker"])
        context = self.network.encode(first * 0.5 + 0.5, condition["tokens"])
        residual = self.network.residual(noisy_BTZhw, t_B, first * 0.5 + 0.5, context)
        return first[:, None] + residual.float()


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentFlowMatching:
    """Lipman et al. 2022 (arXiv 2210.02747), eq. 23, over latents, the clean clip as the target."""

    codec: Autoencoder  # trained, and left as it is
    augment: Augment
    mirror: Mirror
    bfloat16: bool = True

    def __call__(
        self, network: nn.Module, batch: Batch, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(network, Denoiser)
        batch = augmented(batch, self.augment, self.mirror, rng)
        clean = self.latents(batch)
        first = clean[:, 0]
        t_B = draw_levels(batch.clips, rng).to(clean)
        noisy = noised(clean, standard(clean, rng), t_B)
        with in_bfloat16(self.bfloat16, clean):
            context = network.encode(first * 0.5 + 0.5, batch.tokens_BL)
            residual = network.residual(noisy, t_B, first * 0.5 + 0.5, context)
        answer = first[:, None] + residual.float()
        loss = clip_loss(answer.flatten(0, 1), clean.flatten(0, 1), t_B)
        return loss, {"clip": loss}

    @torch.no_grad()
    def latents(self, batch: Batch) -> Tensor:
        """The clips as the denoiser sees them (B, T, Z, h, w)."""
        latents = self.codec.encode(batch.clean_NCHW)
        return latents.reshape(batch.clips, batch.frames, *latents.shape[1:])
