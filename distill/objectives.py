"""What a training step learns: flow matching on known clips, or a teacher's answers."""

# Shapes: as in batch.py.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.distill.augment import Augment, Mirror, augmented
from minuet.distill.batch import Batch
from minuet.distill.losses import Weights, composition_losses, total, weighted
from minuet.distill.path import draw_among, draw_levels, noised, standard
from minuet.distill.predict import in_bfloat16
from minuet.models.anatomy import anatomy_losses
from minuet.models.compose import Fields, bounded
from minuet.models.denoiser import Context, Denoiser


def answer(
    network: Denoiser, noisy_BTCHW: Tensor, t_B: Tensor, batch: Batch, *, bfloat16: bool
) -> tuple[Fields, Context]:
    """The network's answer in float32; inside, bfloat16 where that is faster."""
    with in_bfloat16(bfloat16, noisy_BTCHW):
        context = network.encode(batch.sticker_BCHW, batch.tokens_BL)
        fields = network.fields(noisy_BTCHW, t_B, batch.sticker_BCHW, context)
    return fields.float(), context


def all_losses(fields: Fields, context: Context, batch: Batch, t_B: Tensor) -> dict[str, Tensor]:
    """The composition's losses, and the sticker's."""
    return composition_losses(fields, batch, t_B) | sticker_losses(context, batch)


def sticker_losses(context: Context, batch: Batch) -> dict[str, Tensor]:
    """What is known of the sticker itself: found, its parts; points and traits, its anatomy."""
    losses = {}
    if context.found_BKHW is not None:
        first = slice(None, None, batch.frames)
        logits, part = bounded(context.found_BKHW.float()), batch.part_NHW[first].long()
        error = F.cross_entropy(logits, part, reduction="none")
        losses["found"] = weighted(error, batch.taught_NHW[first], batch.clips)
    if context.anatomy is not None and batch.anatomy_BV.shape[1]:
        losses |= anatomy_losses(context.anatomy, batch.anatomy_BV)
    return losses


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMatching:
    """Lipman et al. 2022 (arXiv 2210.02747), eq. 23, with the clean clip as the target."""

    augment: Augment
    mirror: Mirror
    weights: Weights
    levels: Sequence[float] = ()  # none: all of them; else these alone, as often as they stand here
    bfloat16: bool = True

    def __call__(
        self, network: nn.Module, batch: Batch, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(network, Denoiser)
        batch = augmented(batch, self.augment, self.mirror, rng)
        clean = batch.clip_BTCHW
        t_B = (
            draw_among(self.levels, len(clean), rng)
            if self.levels
            else draw_levels(len(clean), rng)
        )
        t_B = t_B.to(clean)
        noisy = noised(clean, standard(clean, rng), t_B)
        fields, context = answer(network, noisy, t_B, batch, bfloat16=self.bfloat16)
        losses = all_losses(fields, context, batch, t_B)
        return total(losses, self.weights), losses
