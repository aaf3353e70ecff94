"""Stickers at rest -> a network that knows where their parts and joints are, before any motion."""

# Shapes: as in batch.py.

from collections.abc import Callable
from dataclasses import replace

import torch

from minuet.distill.augment import Augment, Mirror, augmented
from minuet.distill.losses import Weights, total
from minuet.distill.objectives import sticker_losses
from minuet.distill.path import generator
from minuet.distill.predict import in_bfloat16
from minuet.distill.store import ClipStore
from minuet.models.denoiser import Denoiser

BATCH = 32
RATE = 2e-3
WARMUP = 50  # steps
SHARES = replace(Weights(), points=4.0, traits=0.2, found=0.5)


def study(
    network: Denoiser,
    store: ClipStore,
    steps: int,
    seed: int,
    augment: Augment,
    mirror: Mirror,
    tell: Callable[[int, dict[str, float]], None] = lambda step, losses: None,
) -> None:
    """Teach what is read from a sticker alone, which a clip's noise and frames only slow down.

    A still costs an eighth of a clip, and says as much about parts and joints (measured: joints
    were 5 px off after 2000 clips of ordinary training).
    """
    learners = [network.sticker, network.anatomy, network.finder]
    parameters = [p for part in learners if part is not None for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=0.01)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARMUP) * (1 - step / steps)
        rng = generator(seed, 2, step)
        batch = augmented(store.draw(BATCH, rng, frames=1), augment, mirror, rng)
        with in_bfloat16(True, batch.clean_NCHW):
            context = network.encode(batch.sticker_BCHW, batch.tokens_BL)
        losses = sticker_losses(context, batch)
        optimizer.zero_grad()
        total(losses, SHARES).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        tell(step + 1, {name: value.item() for name, value in losses.items()})
