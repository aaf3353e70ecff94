"""Captions and the motions they name -> a network whose script knows them, before any picture."""

# Shapes: n clips, B of them in a step, V wordings, L tokens, T frames, K parts.

from collections.abc import Callable

import torch
from torch import Tensor

from minuet.distill.path import generator
from minuet.distill.store import ClipStore
from minuet.models.anatomy import Anatomy, joined, known_anatomy
from minuet.models.denoiser import Denoiser

BATCH = 256
RATE = 4e-3
WARMUP = 50  # steps


def rehearse(
    network: Denoiser,
    store: ClipStore,
    steps: int,
    seed: int,
    wordings: float = 1.0,
    odds: Tensor | None = None,
    tell: Callable[[int, float], None] = lambda step, error: None,
) -> float:
    """Teach the script alone, by labels alone: a minute, where pictures take hours.

    Squared error, because left and right cancel: the absolute error of two opposite motions is the
    same all the way between them, and training by it never left the middle (measured: nothing in
    1500 steps, against nine tenths of the variance in 1200 by squares).

    Args:
        odds: how often each clip is drawn (n,); None: evenly.
        tell: told of every step, with the mean squared error of the motions.

    Returns:
        The last step's mean squared error of the backward affines.
    """
    if network.script is None or steps == 0:
        return 0.0
    tokens_NVL, motion_NTK6 = store.column("tokens"), _motions(store.column("affine"))
    anatomy_N = _anatomy(network, store)
    told_first = max(1, round(wordings * tokens_NVL.shape[1]))
    rng = generator(seed, 1)
    optimizer = torch.optim.Adam(network.script.parameters(), RATE)
    error = torch.zeros(())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARMUP) * (1 - step / steps)
        if odds is None:
            clips = torch.randint(len(motion_NTK6), (BATCH,), generator=rng)
        else:
            clips = torch.multinomial(odds, BATCH, replacement=True, generator=rng)
        wording = torch.randint(told_first, (BATCH,), generator=rng)
        anatomy = anatomy_N[clips] if anatomy_N is not None else None
        told = _told(network, tokens_NVL[clips, wording], anatomy)
        error = (told - motion_NTK6[clips])[:, 1:].square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        tell(step + 1, error.item())
    return float(error.detach())


def _motions(affine_NTK23: Tensor) -> Tensor:
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    return affine_NTK23.reshape(*affine_NTK23.shape[:3], 6) - identity


@torch.no_grad()
def _anatomy(network: Denoiser, store: ClipStore) -> Anatomy | None:
    """Every clip's, as it is labelled, or else as the network reads it in the sticker."""
    landmarks = network.config.landmarks
    if not landmarks:
        return None
    label_NV = store.column("anatomy")
    if label_NV.shape[1]:
        return known_anatomy(label_NV, landmarks)
    read = []
    for first in range(0, len(store), BATCH):
        some = list(range(first, min(first + BATCH, len(store))))
        batch = store.batch(some, torch.zeros(len(some)), frames=1)
        read.append(network.encode(batch.sticker_BCHW, batch.tokens_BL).anatomy)
    return joined([one for one in read if one is not None])


def _told(network: Denoiser, tokens_BL: Tensor, anatomy: Anatomy | None) -> Tensor:
    """What the script says at pure noise of stickers of an anatomy (B, T, K, 6)."""
    assert network.script is not None
    level = network.level(network.frequencies(torch.ones(len(tokens_BL))))
    _, mean = network.caption(tokens_BL)
    film_BTE = (level + 2 * network.words(mean))[:, None, :] + network.frame[None]
    film = network.mix(film_BTE.reshape(-1, film_BTE.shape[-1])).detach()
    told: Tensor = network.script(network.script.words(tokens_BL), film, anatomy)
    return told.reshape(len(tokens_BL), network.config.frames, -1, 6)
