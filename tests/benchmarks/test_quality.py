import math

import numpy as np
import pytest

from minuet.benchmarks import quality
from minuet.benchmarks.degrade import DEGRADATIONS, Subject, blend, box_blur, calibration
from minuet.benchmarks.quality import Future, Judge, Reference, Seen, score, summarise
from minuet.contracts.errors import RequestError
from minuet.contracts.pixels import premultiplied

SIDE = 64


def disc(x: float, y: float, radius: float, color: tuple[float, float, float]) -> np.ndarray:
    """A soft-edged disc with two dots, on transparency: a sticker in miniature."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    alpha = np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1)
    frame = np.zeros((SIDE, SIDE, 4))
    frame[..., :3] = color
    for side in (-1, 1):
        dot = np.hypot(columns - x - side * radius / 3, rows - y + radius / 4) < radius / 5
        frame[dot, :3] = 20
    frame[..., 3] = 255 * alpha
    return frame.round().astype(np.uint8)


def orbit(turn: int, color: tuple[float, float, float] = (230, 90, 60), radius: int = 15) -> Future:
    """The disc runs a circle once around, with its exact flow."""
    angles = 2 * np.pi * turn * np.arange(8) / 8
    xs, ys = 32 + 8 * np.sin(angles), 32 + 8 * np.cos(angles)
    frames = np.stack([disc(x, y, radius, color) for x, y in zip(xs, ys, strict=True)])
    shift = np.stack([xs[0] - xs, ys[0] - ys], -1)[:, None, None] * 2 / SIDE
    flow = np.broadcast_to(shift, (8, SIDE, SIDE, 2)).astype(np.float32)
    return Future(frames_THWC=frames, flow_THW2=flow, mask_THW=frames[..., 3] > 0)


LEFT, RIGHT = orbit(1), orbit(-1)
REFERENCE = Reference(futures=(LEFT, RIGHT), motion="orbit", style="flat", color="red")
SUBJECT = Subject(
    frames_THWC=LEFT.frames_THWC,
    reference=REFERENCE,
    other_THWC=orbit(1, (40, 90, 230), 11).frames_THWC,
    drifted_THWC=orbit(1, (250, 190, 180)).frames_THWC,
    wrong_THWC=np.concatenate([LEFT.frames_THWC[[0, 1, 0, 7]]] * 2),
)
TABLE = calibration([SUBJECT])


def value(name: str, metric: str) -> float:
    return TABLE[name][metric].value


def test_the_truth_and_its_mirror_image_are_both_perfect() -> None:
    for name in ("truth", "other valid future"):
        assert value(name, "first_psnr") == value(name, "psnr") == quality.PSNR_CAP
        for metric in ("sharpness", "soft_alpha", "motion_amount", "seam"):
            assert value(name, metric) == pytest.approx(1.0, abs=0.02)
        assert value(name, "warp") < 0.03


# Which metrics must see which degradation, with the bound that separates it from the truth.
SEEN_BY = [
    ("static", "motion_amount", 0.0, 0.01),
    ("static", "warp", 0.05, 1.0),
    ("ghost", "soft_alpha", 2.0, math.inf),
    ("ghost", "warp", 0.05, 1.0),
    ("shuffled", "warp", 0.05, 1.0),
    ("shuffled", "motion_amount", 1.15, math.inf),
    ("blurred", "sharpness", 0.0, 0.7),
    ("blurred", "soft_alpha", 2.0, math.inf),
    ("wrong motion", "warp", 0.05, 1.0),
    ("style drift", "warp", 0.05, 1.0),
    ("1 px jitter", "warp", 0.03, 1.0),
    ("noise", "sharpness", 2.0, math.inf),
    ("noise", "motion_amount", 1.5, math.inf),
    ("open loop", "seam", 1.3, math.inf),
    ("other clip", "first_psnr", 0.0, 25.0),
    ("other clip", "psnr", 0.0, 25.0),
]


@pytest.mark.parametrize(("name", "metric", "low", "high"), SEEN_BY)
def test_each_degradation_is_seen(name: str, metric: str, low: float, high: float) -> None:
    assert low <= value(name, metric) <= high
    assert not low <= value("truth", metric) <= high, "the bound must not fit the truth"


def test_every_degradation_is_meant_to_be_seen_by_something() -> None:
    assert {row[0] for row in SEEN_BY} == set(DEGRADATIONS) - {"truth", "other valid future"}


def test_psnr_alone_would_prefer_the_ghost_to_a_jitter() -> None:
    assert value("ghost", "psnr") > value("other clip", "psnr")
    assert value("ghost", "soft_alpha") > 2 > value("1 px jitter", "soft_alpha")


def test_exact_flow_finds_the_pixel_that_moved() -> None:
    frame = np.zeros((8, 8, 1), np.float32)
    frame[2, 5] = 1.0
    flow = np.zeros((8, 8, 2), np.float32)
    flow[..., 0], flow[..., 1] = 2 * 3 / 8, 2 * -2 / 8  # what is here was 3 right and 2 up
    moved = quality.sample(frame, flow)
    assert moved[4, 2, 0] == pytest.approx(1.0) and moved.sum() == pytest.approx(1.0)


def test_half_a_pixel_is_half_of_each_neighbour() -> None:
    frame = np.arange(8, dtype=np.float32)[None, :, None].repeat(8, axis=0)
    flow = np.full((8, 8, 2), (0.5 * 2 / 8, 0.0), np.float32)
    assert quality.sample(frame, flow)[3, :7, 0].tolist() == [n + 0.5 for n in range(7)]


def test_colours_that_nobody_sees_do_not_count() -> None:
    frames = LEFT.frames_THWC.copy()
    frames[frames[..., 3] == 0] = (255, 0, 255, 0)
    row = score(frames, REFERENCE)
    assert row["psnr"][0] == quality.PSNR_CAP
    assert row["sharpness"][0] == pytest.approx(row["sharpness"][1])


def test_first_frame_fidelity_is_the_textbooks_psnr() -> None:
    frames = LEFT.frames_THWC.copy()
    frames[0, ..., 3] = 255
    base = Reference(futures=(Future(frames_THWC=frames),))
    off = frames.copy()
    off[0, ..., :3] = np.where(frames[0, ..., :3] > 128, frames[0, ..., :3] - 10, 10)
    wrong = (off[0].astype(float) - frames[0].astype(float)) / 255
    expected = 10 * math.log10(1 / np.mean(wrong**2))
    assert score(off, base)["first_psnr"][0] == pytest.approx(expected, abs=1e-3)


def test_the_judge_is_asked_for_what_the_caption_asked_for() -> None:
    seen = Seen(motion="orbit", style="pastel", color="red")
    judge = Judge(
        recognise=lambda clip: seen,
        features=lambda frames: [frames[:, None, :, :, 0].astype(np.float32)],
    )
    row = score(LEFT.frames_THWC, REFERENCE, judge)
    assert (row["motion"], row["style"], row["color"]) == ((1.0, 1.0), (0.0, 1.0), (1.0, 1.0))
    assert row["features"] == (0.0, 1.0)
    unasked = Reference(futures=(LEFT,), motion="orbit")
    assert "style" not in score(LEFT.frames_THWC, unasked, judge)


def test_a_table_has_intervals_that_hold_its_values() -> None:
    rows = [{"motion": (float(n % 3 > 0), 1.0)} for n in range(90)]
    found = summarise(rows)["motion"]
    assert found.value == pytest.approx(2 / 3)
    # Wald's interval of a share: 1.96 sqrt(p (1 - p) / n).
    assert found.high - found.value == pytest.approx(1.96 * math.sqrt(2 / 9 / 90), rel=0.2)


def test_a_clip_of_another_size_is_refused() -> None:
    with pytest.raises(
        RequestError, match=r"\(8, 32, 32, 4\) is judged by one of \(8, 64, 64, 4\)"
    ):
        score(LEFT.frames_THWC[:, ::2, ::2], REFERENCE)


def test_a_reference_without_a_future_is_refused() -> None:
    with pytest.raises(RequestError, match="at least one valid future"):
        Reference(futures=())


def test_a_blur_keeps_the_colour_and_spreads_the_edge() -> None:
    soft = box_blur(LEFT.frames_THWC[:1], 2)[0]
    assert soft[32, 32, 3] == 255
    assert quality.soft_share(premultiplied(soft[None])) > 0.05
    inside = soft[..., 3] > 40
    assert np.abs(soft[inside][:, 0].astype(int) - 230).min() <= 1


def test_blending_with_nothing_halves_alpha_and_keeps_colour() -> None:
    a = np.full((1, 2, 2, 4), (200, 100, 50, 255), np.uint8)
    found = blend(a, np.zeros_like(a))
    assert np.abs(found.astype(int) - (200, 100, 50, 128)).max() <= 1


def seen_as(clip: np.ndarray) -> dict[str, tuple[float, float]]:
    """A clip's row with a judge that sees what the reference asks for, if warp is near."""
    row = score(clip, REFERENCE)
    right = float(row["warp"][0] < 0.05)
    return {**row, "motion": (right, 1.0), "style": (1.0, 1.0), "features": (1 - right, 1.0)}


def test_the_combined_score_is_one_for_the_truth_and_less_for_every_fault() -> None:
    best = quality.combined(seen_as(LEFT.frames_THWC))
    assert 0.95 < best <= 1
    rng = np.random.default_rng(0)
    for name in ("static", "ghost", "blurred", "noise", "wrong motion"):
        spoilt = DEGRADATIONS[name](SUBJECT, rng)
        assert spoilt is not None
        assert 0 <= quality.combined(seen_as(spoilt)) < best - 0.05, name


def test_the_combined_score_counts_too_much_motion_as_too_little() -> None:
    row = seen_as(LEFT.frames_THWC)
    twice, half = row | {"motion_amount": (2.0, 1.0)}, row | {"motion_amount": (1.0, 2.0)}
    assert quality.combined(twice) == pytest.approx(quality.combined(half))
    assert quality.combined(twice) == pytest.approx(quality.combined(row) - 0.5 / 7, abs=0.01)
