"""Generated clips and the truth -> is it still a good sticker? Every metric with its interval."""

# Shapes: T frames, H rows, W columns, C = 4 channels (straight RGBA, uint8); 2 = x and y.
# PSNR alone rewards blur and stillness: a ghost of two motions scores 30 dB. So no metric here is
# meant to stand alone, and degrade.py shows which degradation each of them sees.

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minuet.benchmarks.stats import Interval, mean_interval
from minuet.contracts.errors import RequestError
from minuet.contracts.pixels import Floats, change, premultiplied, seam

Frames = NDArray[np.uint8]

PSNR_CAP = 60.0  # dB: identical frames, not infinitely good ones
SOFT = (0.1, 0.9)  # alpha between these is half-transparent: an edge, a ghost, or blur


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How a metric is read."""

    better: str  # higher, lower, or one: the truth's own value
    unit: str
    meaning: str


METRICS = {
    "motion": Metric(better="higher", unit="", meaning="the judge sees the motion asked for"),
    "style": Metric(better="higher", unit="", meaning="the judge sees the style asked for"),
    "color": Metric(better="higher", unit="", meaning="the judge sees the colour asked for"),
    "first_psnr": Metric(better="higher", unit="dB", meaning="frame 0 against the given sticker"),
    "psnr": Metric(better="higher", unit="dB", meaning="frames 1.. against the nearest future"),
    "features": Metric(better="lower", unit="", meaning="feature distance to the nearest future"),
    "sharpness": Metric(better="one", unit="x", meaning="gradient energy over the truth's"),
    "soft_alpha": Metric(better="one", unit="x", meaning="half-transparent pixels over truth's"),
    "motion_amount": Metric(better="one", unit="x", meaning="change a frame over the truth's"),
    "warp": Metric(better="lower", unit="", meaning="frame t against frame 0 moved by true flow"),
    "seam": Metric(better="one", unit="x", meaning="last-to-first change over the truth's"),
}


# Of a frozen picture, in the mean of 256 held-out stickers of the embedded world (docs/quality.md).
FROZEN = {"features": 0.654, "warp": 0.184}


@dataclass(frozen=True, slots=True, kw_only=True)
class Future:
    """One valid way in which the clip may go on."""

    frames_THWC: Frames
    flow_THW2: Floats | None = None  # frame t -> frame 0, normalised, where it is known
    mask_THW: NDArray[np.bool_] | None = None  # pixels whose flow is to be trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What one clip is judged by: every valid future, and what the caption asked for."""

    futures: tuple[Future, ...]
    motion: str = ""
    style: str = ""
    color: str = ""

    def __post_init__(self) -> None:
        if not self.futures:
            raise RequestError("a reference needs at least one valid future.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a judge recognises in one clip."""

    motion: str
    style: str
    color: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A recogniser and its features, whoever made them."""

    recognise: Callable[[Frames], Seen]
    features: Callable[[Frames], Sequence[Floats]]  # per layer (T, C, h, w), unit length over C


Row = dict[str, tuple[float, float]]  # metric -> value and weight: means and ratios of sums alike


def table(
    clips: Iterable[Frames],
    references: Iterable[Reference],
    judge: Judge | None = None,
    *,
    seed: int = 0,
) -> dict[str, Interval]:
    """Every metric over many clips, with 95 % bootstrap intervals over the clips."""
    rows = [score(c, r, judge) for c, r in zip(clips, references, strict=True)]
    return summarise(rows, seed=seed)


def summarise(rows: Sequence[Row], *, seed: int = 0) -> dict[str, Interval]:
    """Rows of clips -> sum(value) / sum(weight) and its interval, for every metric present."""
    names = [name for name in METRICS if any(name in row for row in rows)]
    found: dict[str, Interval] = {}
    for name in names:
        pairs = np.array([row[name] for row in rows if name in row])
        found[name] = mean_interval(pairs[:, 0], pairs[:, 1], seed=seed)
    return found


def score(clip_THWC: Frames, reference: Reference, judge: Judge | None = None) -> Row:
    """One clip's row.

    Raises:
        RequestError: the clip and its reference differ in shape.
    """
    shape = reference.futures[0].frames_THWC.shape
    if clip_THWC.shape != shape:
        raise RequestError(f"a clip of shape {clip_THWC.shape} is judged by one of {shape}.")
    clip = premultiplied(clip_THWC)
    truths = [premultiplied(future.frames_THWC) for future in reference.futures]
    nearest = int(np.argmin([np.mean((clip - truth) ** 2) for truth in truths]))
    truth = truths[nearest]
    row: Row = {
        "first_psnr": (psnr(clip[0], truths[0][0]), 1.0),
        "psnr": (psnr(clip[1:], truth[1:]), 1.0),
        "sharpness": (gradient_energy(clip[1:]), gradient_energy(truth[1:])),
        "soft_alpha": (soft_share(clip[1:]), soft_share(truth[1:])),
        "motion_amount": (change(clip), change(truth)),
        "seam": (seam(clip), seam(truth)),
    }
    errors = [warp_error(clip, future) for future in reference.futures]
    known = [error for error in errors if error is not None]
    if known:
        row["warp"] = (min(known), 1.0)
    return row | (_judged(clip_THWC, reference, judge) if judge else {})


def combined(row: Row) -> float:
    """One number of a clip in 0..1, to compare students by: the mean of what follows.

    The motion and the style are seen; sharpness, soft alpha and the amount of motion are like the
    truth's (the smaller over the larger); features and warp are no further than a frozen picture
    is (1: as the truth, 0: as far as it, or further).
    """
    seen = [row[name][0] for name in ("motion", "style")]
    alike = [_alike(*row[name]) for name in ("sharpness", "soft_alpha", "motion_amount")]
    near = [max(0.0, 1 - row[name][0] / still) for name, still in FROZEN.items()]
    return float(np.mean(seen + alike + near))


def _alike(ours: float, theirs: float) -> float:
    return min(ours, theirs) / max(ours, theirs, 1e-12)


def _judged(clip_THWC: Frames, reference: Reference, judge: Judge) -> Row:
    seen = judge.recognise(clip_THWC)
    asked = {"motion": reference.motion, "style": reference.style, "color": reference.color}
    row: Row = {
        name: (float(getattr(seen, name) == word), 1.0) for name, word in asked.items() if word
    }
    ours = judge.features(clip_THWC[1:])
    gaps = [
        feature_distance(ours, judge.features(future.frames_THWC[1:]))
        for future in reference.futures
    ]
    return row | {"features": (min(gaps), 1.0)}


def psnr(a: Floats, b: Floats) -> float:
    """Peak signal to noise in dB over premultiplied RGBA, capped at PSNR_CAP."""
    error = float(np.mean((a - b) ** 2))
    return min(PSNR_CAP, -10 * float(np.log10(max(error, 1e-12))))


def gradient_energy(frames_THWC: Floats) -> float:
    """Mean squared step between neighbouring pixels, both directions added.

    Squared: the plain sum of steps over an edge stays the same however far blur spreads it.
    """
    across = (np.diff(frames_THWC, axis=2) ** 2).mean()
    down = (np.diff(frames_THWC, axis=1) ** 2).mean()
    return float(across + down)


def soft_share(frames_THWC: Floats) -> float:
    """Share of half-transparent pixels."""
    alpha = frames_THWC[..., 3]
    return float(((alpha > SOFT[0]) & (alpha < SOFT[1])).mean())


def warp_error(clip_THWC: Floats, future: Future) -> float | None:
    """Mean distance between frame t and frame 0 moved by the true flow, inside the mask.

        E = mean over t > 0 and masked pixels p of |x_t(p) - x_0(p + f_t(p))|

    Lai et al. 2018 (arXiv 1808.00449), section 4, with the world's exact flow in the place of an
    estimated one and absolute differences of premultiplied RGBA. None where no flow is known.
    """
    if future.flow_THW2 is None or future.mask_THW is None:
        return None
    total, count = 0.0, 0
    for t in range(1, len(clip_THWC)):
        moved = sample(clip_THWC[0], future.flow_THW2[t])
        inside = future.mask_THW[t]
        total += float(np.abs(clip_THWC[t] - moved)[inside].mean(axis=-1).sum())
        count += int(inside.sum())
    return total / count if count else None


def sample(frame_HWC: Floats, flow_HW2: Floats) -> Floats:
    """Bilinear look-up of a frame at every pixel's own place plus flow; edges repeat.

    Flow is normalised: a pixel's x is (2 * column + 1) / W - 1 (align_corners=False).
    """
    height, width = frame_HWC.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x = np.clip(x + flow_HW2[..., 0] * (width / 2), 0, width - 1)
    y = np.clip(y + flow_HW2[..., 1] * (height / 2), 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, low = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    a, b = (x - left)[..., None], (y - top)[..., None]
    upper = frame_HWC[top, left] * (1 - a) + frame_HWC[top, right] * a
    lower = frame_HWC[low, left] * (1 - a) + frame_HWC[low, right] * a
    moved: Floats = (upper * (1 - b) + lower * b).astype(np.float32)
    return moved


def feature_distance(ours: Sequence[Floats], theirs: Sequence[Floats]) -> float:
    """Squared distance of unit features, summed over channels and layers, averaged elsewhere.

    Zhang et al. 2018 (arXiv 1801.03924), eq. 1, without learned weights.
    """
    gaps = (((a - b) ** 2).sum(axis=1).mean() for a, b in zip(ours, theirs, strict=True))
    return float(sum(gaps))
