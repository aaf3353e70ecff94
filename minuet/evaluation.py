"""A network and held-out stickers -> the quality table: what it makes, beside the truth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import one_hot

from minuet.benchmarks.degrade import Subject, calibration
from minuet.benchmarks.quality import Frames, Future, Judge, Reference, Row, score, summarise
from minuet.benchmarks.stats import Interval
from minuet.distill.batch import Batch, batch_from_arrays
from minuet.distill.ensemble import shrunk
from minuet.distill.path import generator, noise
from minuet.distill.sample import sample
from minuet.models.compose import (
    LOGIT_BOUND,
    Fields,
    compose,
    decided,
    premultiply,
    unpremultiply,
)
from minuet.models.student import Student
from minuet.stickers import captions, motions, palette, world
from minuet.worlds import SIDE

SEED = 2_026  # of the held-out stickers; no training draws from it
SHOWN = 128  # pixels a side at which clips are compared
CHUNK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One held-out sticker, its caption, and the clip that would be right."""

    spec: world.Spec
    caption: str
    subject: Subject


def held_out(
    count: int, side: int = SHOWN, *, seed: int = SEED, split: str = "test"
) -> Iterator[Asked]:
    """Stickers of character x motion pairs that no training ever drew, unless told otherwise.

    The caption leaves nothing of the movement open, as `minuet animate` writes it, so that one
    future is right.
    """
    for index in range(count):
        spec = world.sample(seed, index, split)
        yield Asked(spec=spec, caption=captions.explicit(spec), subject=_subject(spec, index, side))


def _subject(spec: world.Spec, index: int, side: int) -> Subject:
    truth = world.render_truth(spec, side)
    future = Future(
        frames_THWC=truth.frames_THWC,
        flow_THW2=truth.flow_THW2,
        mask_THW=truth.mask_THW & seen_before(truth),
    )
    reference = Reference(futures=(future,), motion=spec.motion, style=spec.style, color=spec.color)
    rng = np.random.default_rng([SEED, index, 1])
    wrong = str(rng.choice([name for name in motions.MOTIONS if name != spec.motion]))
    style = str(rng.choice([name for name in palette.STYLES if name != spec.style]))
    toward = "left" if wrong in motions.SIDED else ""
    elsewhere = replace(spec, motion=wrong, toward=toward)
    other = world.sample(SEED + 1, index, "test")
    return Subject(
        frames_THWC=truth.frames_THWC,
        reference=reference,
        other_THWC=world.render_clip(other, side).frames_THWC,
        drifted_THWC=world.render_clip(replace(spec, style=style), side).frames_THWC,
        wrong_THWC=world.render_clip(elsewhere, side).frames_THWC,
    )


def seen_before(truth: world.Truth) -> NDArray[np.bool_]:
    """Whether the flow leads to a pixel of the same part of the sticker in frame 0 (T, H, W).

    Where it does not, the pixel was covered, and no warp of frame 0 can be right.
    """
    side = truth.part_THW.shape[-1]
    rows, columns = np.mgrid[0:side, 0:side]
    x = np.rint(columns + truth.flow_THW2[..., 0] * side / 2).astype(int)
    y = np.rint(rows + truth.flow_THW2[..., 1] * side / 2).astype(int)
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    x, y = x.clip(0, side - 1), y.clip(0, side - 1)
    same = truth.part_THW[0][y, x] == truth.part_THW
    return np.asarray(inside & same & truth.mask_THW[0][y, x])


def animated(student: Student, asked: Sequence[Asked], *, renoise: bool = False) -> list[Frames]:
    """The clips a network makes, by its own sampler, at the asked stickers' size.

    Args:
        renoise: noise each estimate anew in the place of Euler steps.
    """
    made: list[Frames] = []
    for first in range(0, len(asked), CHUNK):
        fresh = generator(SEED, 1, first) if renoise else None
        made += _chunk(student, asked[first : first + CHUNK], first, fresh)
    return made


def _chunk(
    student: Student, asked: Sequence[Asked], first: int, fresh: torch.Generator | None
) -> list[Frames]:
    config = student.network.config
    stills = [one.subject.frames_THWC[0] for one in asked]
    tokens = torch.from_numpy(np.stack([captions.encode(one.caption) for one in asked]))
    shape = (config.frames, config.channels, config.side, config.side)
    fields = sample(
        student.network,
        torch.stack([shrunk(still, SIDE) for still in stills]),
        tokens,
        torch.stack([noise(SEED, first + at, shape) for at in range(len(asked))]),
        student.sampler.levels,
        guidance=student.sampler.guidance,
        scales=student.sampler.scales,
        fresh=fresh,
        bfloat16=False,
    )
    return _shown(fields, stills)


def _shown(fields: Fields, stills: Sequence[Frames]) -> list[Frames]:
    """Fields at the working size -> clips at the stickers' own."""
    large = torch.stack([torch.from_numpy(still).permute(2, 0, 1) for still in stills])
    count = len(fields.gate_N1HW) // len(stills)
    frames = unpremultiply(compose(premultiply(large.float() / 255), decided(fields), count))
    pixels = (frames * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)
    clips: list[Frames] = list(pixels.reshape(len(stills), count, *pixels.shape[1:]).numpy())
    return clips


def told_the_truth(asked: Sequence[Asked]) -> list[Frames]:
    """What the composition makes of the true motions, masks and paint at the working size.

    The head's own ceiling: what is lost here no network brings back.
    """
    clips: list[Frames] = []
    for one in asked:
        truth = world.render_truth(one.spec, SIDE)
        batch = batch_from_arrays(
            frames=torch.from_numpy(truth.frames_THWC)[None],
            part=torch.from_numpy(truth.part_THW.astype(np.uint8))[None],
            mask=torch.from_numpy(truth.mask_THW)[None],
            affine=torch.from_numpy(truth.affine_TK23)[None],
            tokens=torch.zeros(1, 1, dtype=torch.int32),
            noise=torch.full((1,), -1),
            anatomy=torch.zeros(1, 0),
        )
        clips += _shown(_true_fields(batch), [one.subject.frames_THWC[0]])
    return clips


def _true_fields(batch: Batch) -> Fields:
    flow = batch.flow_N2HW
    parts = one_hot(batch.part_NHW.long(), batch.affine_NK6.shape[1]).permute(0, 3, 1, 2)
    return Fields(
        affine_NK6=batch.affine_NK6,
        parts_NKHW=(parts * 2.0 - 1) * LOGIT_BOUND,
        dense_N2HW=torch.zeros_like(flow),
        gate_N1HW=(batch.visible_NHW(flow)[:, None] * 2 - 1) * LOGIT_BOUND,
        paint_NCHW=batch.clean_NCHW,
    )


def rows_of(clips: Sequence[Frames], asked: Sequence[Asked], judge: Judge) -> list[Row]:
    """Every metric of every clip."""
    return [
        score(clip, one.subject.reference, judge) for clip, one in zip(clips, asked, strict=True)
    ]


def by_motion(rows: Sequence[Row], asked: Sequence[Asked]) -> dict[str, dict[str, Interval]]:
    """Every metric of each motion's stickers alone: where a network fails."""
    found: dict[str, dict[str, Interval]] = {}
    for motion in motions.MOTIONS:
        same = [row for row, one in zip(rows, asked, strict=True) if one.spec.motion == motion]
        if same:
            found[motion] = summarise(same)
    return found


def ceiling(asked: Sequence[Asked], judge: Judge) -> dict[str, dict[str, Interval]]:
    """The same metrics for clips spoilt on purpose: what each number means."""
    return calibration([one.subject for one in asked], judge)


def gigaflops(student: Student) -> float:
    """Arithmetic of the denoiser for one clip: steps x guidance passes, 2 a multiply-add."""
    from torch.utils.flop_counter import FlopCounterMode

    config = student.network.config
    sticker = torch.zeros(1, config.channels, config.side, config.side)
    tokens = torch.zeros(1, config.tokens, dtype=torch.int32)
    noisy = torch.zeros(1, config.frames, config.channels, config.side, config.side)
    scales = torch.tensor([student.sampler.scales])
    with FlopCounterMode(display=False) as encoding:
        context = student.network.encode(sticker, tokens, scales)
    with FlopCounterMode(display=False) as stepping:
        student.network.fields(noisy, torch.ones(1), sticker, context)
    passes = student.sampler.evaluations // student.sampler.steps
    flops = passes * encoding.get_total_flops()
    flops += student.sampler.evaluations * stepping.get_total_flops()
    return float(flops) / 1e9


def plain(table: Mapping[str, Mapping[str, Interval]]) -> dict[str, Any]:
    """A table as JSON takes it."""
    return {
        name: {metric: asdict(interval) for metric, interval in row.items()}
        for name, row in table.items()
    }
