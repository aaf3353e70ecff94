"""Step and guidance distillation: a many-step guided teacher's clips -> a few-step student."""

# Shapes: as in batch.py.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minuet.distill.augment import Augment, Mirror, augmented
from minuet.distill.batch import Batch
from minuet.distill.losses import Weights, total
from minuet.distill.objectives import all_losses, answer
from minuet.distill.path import draw_among, noise, noised, standard
from minuet.models.denoiser import Denoiser


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDistillation:
    """Learn, at the student's own few noise levels, where the teacher's whole trajectory ends.

    A kept clip remembers the noise its teacher began with, so noise and clip are a pair, and the
    straight line between them is the student's path: reflow (Liu et al. 2022, arXiv 2209.03003,
    sec. 2.2) onto the ends of a guided trajectory, which folds guidance in (Meng et al. 2022,
    arXiv 2210.03142, sec. 3.1). World clips have no such noise and take fresh noise.
    """

    levels: Sequence[float]
    seed: int  # whose noise the kept clips began with
    augment: Augment  # of world clips; pairs are left as they are
    mirror: Mirror
    weights: Weights
    bfloat16: bool = True

    def __call__(
        self, network: nn.Module, batch: Batch, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(network, Denoiser)
        paired = bool((batch.noise_B >= 0).all())
        if not paired:
            batch = augmented(batch, self.augment, self.mirror, rng)
        clean = batch.clip_BTCHW
        fresh = standard(clean, rng)
        start = self._noise(batch).to(clean) if paired else fresh
        t_B = draw_among(self.levels[:-1], batch.clips, rng).to(clean)
        noisy = noised(clean, start, t_B)
        fields, context = answer(network, noisy, t_B, batch, bfloat16=self.bfloat16)
        losses = all_losses(fields, context, batch, t_B)
        return total(losses, self.weights), losses

    def _noise(self, batch: Batch) -> Tensor:
        """The noise that each kept clip's teacher began with."""
        shape = tuple(batch.clip_BTCHW.shape[1:])
        return torch.stack([noise(self.seed, n, shape) for n in batch.noise_B.tolist()])
