"""True clips -> clips spoilt in a known way: what the metrics must see, and their calibration."""

# Shapes: T frames, H rows, W columns, C = 4 channels (straight RGBA, uint8).

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minuet.benchmarks.quality import Frames, Judge, Reference, score, summarise
from minuet.benchmarks.stats import Interval

Rng = np.random.Generator
SHUFFLE = (0, 3, 6, 1, 4, 7, 2, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A true clip and what is needed to spoil it."""

    frames_THWC: Frames
    reference: Reference
    other_THWC: Frames  # another sticker's clip: the wrong video
    drifted_THWC: Frames | None = None  # the same clip in another style
    wrong_THWC: Frames | None = None  # the same sticker in another motion


Spoil = Callable[[Subject, Rng], Frames | None]


def truth(subject: Subject, rng: Rng) -> Frames:
    """Untouched: the ceiling."""
    return subject.frames_THWC


def mirrored(subject: Subject, rng: Rng) -> Frames:
    """The last of its valid futures: as good as the first."""
    return subject.reference.futures[-1].frames_THWC


def static(subject: Subject, rng: Rng) -> Frames:
    """Frame 0 throughout."""
    return np.repeat(subject.frames_THWC[:1], len(subject.frames_THWC), axis=0)


def ghost(subject: Subject, rng: Rng) -> Frames:
    """The mean of two different frames of the loop: what one-step regression draws."""
    frames = subject.frames_THWC
    ahead = np.concatenate([frames[:1], np.roll(frames, -2, axis=0)[1:]])
    return blend(frames, ahead)


def shuffled(subject: Subject, rng: Rng) -> Frames:
    """The right frames in a wrong order."""
    order = [index % len(subject.frames_THWC) for index in SHUFFLE]
    return subject.frames_THWC[order[: len(subject.frames_THWC)]]


def blurred(subject: Subject, rng: Rng) -> Frames:
    """A box blur of 5 pixels in 64, all frames but the first."""
    radius = max(1, round(subject.frames_THWC.shape[1] / 32))
    soft = box_blur(subject.frames_THWC, radius)
    return np.concatenate([subject.frames_THWC[:1], soft[1:]])


def jittered(subject: Subject, rng: Rng) -> Frames:
    """Each frame but the first shifted by up to a pixel in 64, in any direction."""
    step = max(1, round(subject.frames_THWC.shape[1] / 64))
    moves = rng.choice(
        [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b], size=len(SHUFFLE)
    )
    frames = [
        np.roll(frame, tuple(step * move), axis=(0, 1))
        for frame, move in zip(subject.frames_THWC[1:], moves, strict=False)
    ]
    return np.stack([subject.frames_THWC[0], *frames])


def noisy(subject: Subject, rng: Rng) -> Frames:
    """Gaussian noise of 15 % of the range, all frames but the first."""
    noise = rng.normal(0, 0.15 * 255, subject.frames_THWC[1:].shape)
    rest = np.clip(subject.frames_THWC[1:] + noise, 0, 255).astype(np.uint8)
    return np.concatenate([subject.frames_THWC[:1], rest])


def jumping_loop(subject: Subject, rng: Rng) -> Frames:
    """The first half at half speed, then cut back to frame 0: a loop that does not close."""
    count = len(subject.frames_THWC)
    slow: Frames = subject.frames_THWC[np.arange(count) // 2]
    return slow


def other(subject: Subject, rng: Rng) -> Frames:
    """Another sticker's clip."""
    return subject.other_THWC


def drifted(subject: Subject, rng: Rng) -> Frames | None:
    """Another style from frame 1 on."""
    if subject.drifted_THWC is None:
        return None
    return np.concatenate([subject.frames_THWC[:1], subject.drifted_THWC[1:]])


def wrong_motion(subject: Subject, rng: Rng) -> Frames | None:
    """The right sticker, sharp and clean, doing something else."""
    return subject.wrong_THWC


DEGRADATIONS: dict[str, Spoil] = {
    "truth": truth,
    "other valid future": mirrored,
    "static": static,
    "ghost": ghost,
    "shuffled": shuffled,
    "blurred": blurred,
    "wrong motion": wrong_motion,
    "style drift": drifted,
    "1 px jitter": jittered,
    "noise": noisy,
    "open loop": jumping_loop,
    "other clip": other,
}


def calibration(
    subjects: Sequence[Subject],
    judge: Judge | None = None,
    spoils: Mapping[str, Spoil] = DEGRADATIONS,
    *,
    seed: int = 0,
) -> dict[str, dict[str, Interval]]:
    """Degradation -> metric -> interval; print it beside every quality table."""
    found: dict[str, dict[str, Interval]] = {}
    for name, spoil in spoils.items():
        pairs = [
            (spoil(subject, np.random.default_rng((seed, index))), subject.reference)
            for index, subject in enumerate(subjects)
        ]
        rows = [score(clip, reference, judge) for clip, reference in pairs if clip is not None]
        if rows:
            found[name] = summarise(rows, seed=seed)
    return found


def blend(a_THWC: Frames, b_THWC: Frames) -> Frames:
    """The mean of two clips, blended premultiplied and given back straight."""
    a, b = a_THWC.astype(np.float32), b_THWC.astype(np.float32)
    alpha = (a[..., 3:] + b[..., 3:]) / 2
    color = (a[..., :3] * a[..., 3:] + b[..., :3] * b[..., 3:]) / 2 / np.maximum(alpha, 1)
    return _rounded(np.concatenate([color, alpha], axis=-1))


def box_blur(frames_THWC: Frames, radius: int) -> Frames:
    """The mean over (2 * radius + 1)^2 pixels, premultiplied, transparent beyond the edge."""
    frames = frames_THWC.astype(np.float32)
    frames[..., :3] *= frames[..., 3:] / 255
    for axis in (1, 2):
        frames = _running_mean(frames, radius, axis)
    frames[..., :3] *= 255 / np.maximum(frames[..., 3:], 1)
    return _rounded(frames)


def _running_mean(values: NDArray[np.float32], radius: int, axis: int) -> NDArray[np.float32]:
    pad = [(0, 0)] * values.ndim
    pad[axis] = (radius, radius)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(values, pad), 2 * radius + 1, axis=axis
    )
    mean: NDArray[np.float32] = windows.mean(axis=-1, dtype=np.float32)
    return mean


def _rounded(values: NDArray[np.float32]) -> Frames:
    return (np.clip(values, 0, 255) + 0.5).astype(np.uint8)
