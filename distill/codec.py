"""What an autoencoder learns, and how a denoiser learns over its latents."""

# Shapes: as in batch.py; Z latent channels, h = H / factor, w = W / factor.

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.distill.augment import Augment, Mirror, augmented
from minuet.distill.batch import Batch
from minuet.distill.losses import clip_loss
from minuet.distill.path import draw_levels, noised
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
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            latent = network.encode(clean)
            shaken = latent + self.jitter * torch.randn(latent.shape, generator=rng)
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
        t_B = draw_levels(batch.clips, rng)
        noisy = noised(clean, torch.randn(clean.shape, generator=rng), t_B)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
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
