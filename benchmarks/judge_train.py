"""Labelled clips -> a trained judge: lightly augmented, in minutes on a core."""

# Shapes: N clips in all, B in a batch, T = 8 frames, C = 4 channels, S = 64 pixels a side.

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from minuet.benchmarks.judge import FRAMES, JudgeNet, Words

PALETTES = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0))

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Clips at 64 px with the numbers of their words."""

    clips_NTSSC: NDArray[np.uint8]  # premultiplied
    motion_N: NDArray[np.int64]
    style_N: NDArray[np.int64]
    color_N: NDArray[np.int64]


def train(
    data: Labelled, words: Words, *, seen: int, batch: int = 32, seed: int = 0, say: Say = print
) -> JudgeNet:
    """Train on `seen` clips, counted with repeats, the rate falling to nothing at the end.

    Counted in clips and not in seconds: a busy machine takes longer and learns the same.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = JudgeNet(words)
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.01)
    steps = max(1, seen // batch)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * (1 - step / steps)
        loss = losses(net, data, rng.choice(len(data.motion_N), batch, replace=False), rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 100 == 0:
            say(f"{step + 1} of {steps} steps: loss {loss.item():.3f}")
    net.eval()
    return net


def losses(
    net: JudgeNet, data: Labelled, picked: NDArray[np.int64], rng: np.random.Generator
) -> Tensor:
    """Cross-entropies of motion, style and colour on one augmented batch.

    Motion is learned soonest: it gets half the clips, and the look two frames of every clip.
    """
    clips = augmented(tensor_of(data.clips_NTSSC[picked]), rng)
    motion, style, color = (
        torch.from_numpy(labels[picked]) for labels in (data.motion_N, data.style_N, data.color_N)
    )
    half = len(picked) // 2
    loss = functional.cross_entropy(net.motion(recolored(clips[:half], rng)), motion[:half])
    frames = torch.from_numpy(rng.integers(0, FRAMES, (2, len(picked))))
    seen = torch.cat([clips[torch.arange(len(picked)), frame] for frame in frames])
    styles, colors = net.look(seen)
    loss = loss + functional.cross_entropy(styles, style.repeat(2))
    return loss + functional.cross_entropy(colors, color.repeat(2))


def augmented(clips_BTCSS: Tensor, rng: np.random.Generator) -> Tensor:
    """Each clip placed anew and played either way; some noisy, some soft.

    Clip by clip, never a whole batch: batch statistics of noise would not fit clean clips later.
    """
    order = [0, *range(FRAMES - 1, 0, -1)]
    backwards = chosen(rng, len(clips_BTCSS), 0.5)
    clips = clips_BTCSS.clone()
    clips[backwards] = clips_BTCSS[backwards][:, order]
    clips = placed(clips, rng)
    soft, noisy = chosen(rng, len(clips), 0.3), chosen(rng, len(clips), 0.3)
    if len(soft):
        blurred = functional.avg_pool2d(clips[soft].flatten(0, 1), 3, 1, 1)
        some = strengths(rng, len(soft), 0.6)
        clips[soft] += some * (blurred.reshape(len(soft), *clips.shape[1:]) - clips[soft])
    if len(noisy):
        noise = torch.randn(len(noisy), *clips.shape[1:])
        clips[noisy] += strengths(rng, len(noisy), 0.1) * noise
    return clips


def chosen(rng: np.random.Generator, count: int, share: float) -> Tensor:
    """The numbers of about `share` of the clips."""
    return torch.from_numpy(np.flatnonzero(rng.random(count) < share))


def strengths(rng: np.random.Generator, count: int, most: float) -> Tensor:
    """One strength from 0 to `most` a clip (B, 1, 1, 1, 1)."""
    return torch.from_numpy(rng.uniform(0, most, (count, 1, 1, 1, 1))).float()


def placed(clips_BTCSS: Tensor, rng: np.random.Generator) -> Tensor:
    """Shifted by up to 3 pixels and scaled by up to 8 %, the same in all frames of a clip."""
    count = len(clips_BTCSS)
    scale = torch.from_numpy(rng.uniform(0.92, 1.08, count)).float()
    shift = torch.from_numpy(rng.uniform(-0.1, 0.1, (count, 2))).float()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    flat = (clips_BTCSS + 1).flatten(1, 2)  # transparent is 0, as beyond the edge
    grid = functional.affine_grid(theta, list(flat.shape), align_corners=False)
    moved = functional.grid_sample(flat, grid, align_corners=False) - 1
    return moved.reshape(clips_BTCSS.shape)


def recolored(clips_BTCSS: Tensor, rng: np.random.Generator) -> Tensor:
    """Colour channels in another order: no motion is told by a colour."""
    order = [*PALETTES[int(rng.integers(len(PALETTES)))], 3]
    return clips_BTCSS[:, :, order]


@torch.inference_mode()
def accuracies(net: JudgeNet, data: Labelled) -> dict[str, float]:
    """Shares recognised: motion by clip, style and colour by clip as recognise() answers."""
    right = {"motion": 0, "style": 0, "color": 0}
    for index in range(len(data.motion_N)):
        clip = tensor_of(data.clips_NTSSC[index : index + 1])
        style, color = (scores.log_softmax(-1).mean(0) for scores in net.look(clip[0, 1:]))
        right["motion"] += int(net.motion(clip)[0].argmax()) == data.motion_N[index]
        right["style"] += int(style.argmax()) == data.style_N[index]
        right["color"] += int(color.argmax()) == data.color_N[index]
    return {name: count / len(data.motion_N) for name, count in right.items()}


def tensor_of(clips_NTSSC: NDArray[np.uint8]) -> Tensor:
    """Premultiplied uint8 -> float32 (N, T, C, S, S) in -1..1."""
    return torch.from_numpy(clips_NTSSC).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
