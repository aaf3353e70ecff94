"""The quality table: the truth is perfect, the asked stickers are held out, arithmetic adds up."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from minuet import evaluation
from minuet.benchmarks.quality import PSNR_CAP, Judge, Seen, summarise
from minuet.distill.path import noise
from minuet.evaluation import (
    Asked,
    animated,
    by_motion,
    ceiling,
    gigaflops,
    held_out,
    plain,
    rows_of,
    told_the_truth,
)
from minuet.models.student import Sampler, Student
from minuet.stickers import captions, world
from tests.models.tiny import denoiser

SIDE = 64
COUNT = 6
PERFECT = {
    **dict.fromkeys(("motion", "style", "color", "sharpness", "soft_alpha"), 1.0),
    **{"motion_amount": 1.0, "seam": 1.0, "features": 0.0},
    **{"first_psnr": PSNR_CAP, "psnr": PSNR_CAP},
}
Frames = NDArray[np.uint8]


@pytest.fixture(scope="module")
def asked() -> list[Asked]:
    return list(held_out(COUNT, SIDE))


def judge_of(asked: Sequence[Asked]) -> Judge:
    """Knows the true clips by heart, and nothing else."""
    known = {one.subject.frames_THWC.tobytes(): one.spec for one in asked}

    def recognise(frames_THWC: Frames) -> Seen:
        spec = known.get(frames_THWC.tobytes())
        if spec is None:
            return Seen(motion="", style="", color="")
        return Seen(motion=spec.motion, style=spec.style, color=spec.color)

    def features(frames_THWC: Frames) -> list[NDArray[np.float32]]:
        small = frames_THWC[:, ::8, ::8].astype(np.float32).transpose(0, 3, 1, 2) + 1
        return [small / np.linalg.norm(small, axis=1, keepdims=True)]

    return Judge(recognise=recognise, features=features)


def student(
    levels: tuple[float, ...] = (1.0, 0.6, 0.0), guidance: float = 1.0, side: int = SIDE
) -> Student:
    network = denoiser(frames=8, side=side, parts=12, vocabulary=128)
    sampler = Sampler(levels=levels, guidance=guidance)
    return Student(network=network, sampler=sampler, tokenizer="", card="")


# --- what is asked ---------------------------------------------------------------------------


def test_asked_stickers_are_of_pairs_that_no_lesson_draws(asked: list[Asked]) -> None:
    train = {(s.character, s.motion) for s in (world.sample(7, index) for index in range(2000))}
    more = [world.sample(evaluation.SEED, index, "test") for index in range(300)]
    assert [one.spec for one in asked] == more[:COUNT]
    for spec in more:
        assert world.split_of(spec) == "test" and (spec.character, spec.motion) not in train


def test_the_caption_leaves_nothing_of_the_movement_open(asked: list[Asked]) -> None:
    for one in asked:
        told = captions.parse(one.caption)
        assert (told.motion, told.toward) == (one.spec.motion, one.spec.toward)
        assert told.amplitude == one.spec.amplitude


def test_the_spoilt_clips_are_what_they_are_called(asked: list[Asked]) -> None:
    for one in asked:
        true, subject = one.subject.frames_THWC, one.subject
        np.testing.assert_array_equal(true, world.render_clip(one.spec, SIDE).frames_THWC)
        for other in (subject.other_THWC, subject.drifted_THWC, subject.wrong_THWC):
            assert other is not None and other.shape == true.shape and (other != true).any()
        assert subject.wrong_THWC is not None
        still = np.abs(subject.wrong_THWC[0].astype(int) - true[0]).mean()
        assert still < np.abs(subject.other_THWC[0].astype(int) - true[0]).mean()


def test_the_same_stickers_are_asked_each_time(asked: list[Asked]) -> None:
    again = next(held_out(1, SIDE))
    assert again.caption == asked[0].caption
    np.testing.assert_array_equal(again.subject.wrong_THWC, asked[0].subject.wrong_THWC)


# --- what it says ----------------------------------------------------------------------------


def test_the_truth_is_perfect_and_its_spoilt_copies_are_not(asked: list[Asked]) -> None:
    table = ceiling(asked, judge_of(asked))
    for metric, value in PERFECT.items():
        assert table["truth"][metric].value == pytest.approx(value, abs=1e-6), metric
    assert table["wrong motion"]["motion"].value == 0
    assert table["static"]["motion_amount"].value == 0
    for name in ("blurred", "noise", "ghost", "other clip", "style drift"):
        assert table[name]["psnr"].value < 40, name
        assert table[name]["features"].value > 0, name
        assert table[name]["motion"].value == 0, name


def test_clips_that_are_the_truth_are_perfect(asked: list[Asked]) -> None:
    rows = rows_of([a.subject.frames_THWC for a in asked], asked, judge_of(asked))
    found = summarise(rows)
    for metric, value in PERFECT.items():
        assert found[metric].value == pytest.approx(value, abs=1e-6), metric
    motions = by_motion(rows, asked)
    assert set(motions) == {a.spec.motion for a in asked}
    assert all(row["motion"].value == 1 for row in motions.values())


def test_motions_are_counted_apart(asked: list[Asked]) -> None:
    missed = asked[0].spec.motion
    clips = [
        np.repeat(a.subject.frames_THWC[:1], 8, 0)
        if a.spec.motion == missed
        else a.subject.frames_THWC
        for a in asked
    ]
    found = by_motion(rows_of(clips, asked, judge_of(asked)), asked)
    assert len(found) > 1
    assert all((row["motion"].value == 1) == (name != missed) for name, row in found.items())
    assert max(found, key=lambda name: found[name]["warp"].value) == missed


def test_a_table_is_plain_enough_for_json(asked: list[Asked]) -> None:
    table = ceiling(asked[:2], judge_of(asked))
    read = json.loads(json.dumps(plain(table)))
    assert read["truth"]["psnr"]["value"] == PSNR_CAP and set(read) == set(table)


# --- what a network makes --------------------------------------------------------------------


def test_a_network_animates_the_asked_stickers_whatever_the_chunks(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = animated(student(), asked[:3])
    monkeypatch.setattr(evaluation, "CHUNK", 2)
    chunked = animated(student(), asked[:3])
    for a, b, one in zip(whole, chunked, asked, strict=False):
        assert a.shape == one.subject.frames_THWC.shape and a.dtype == np.uint8
        assert np.abs(a.astype(int) - b).max() <= 1
    assert (whole[0] != whole[1]).any()


def test_the_clips_are_those_that_the_exported_program_makes(asked: list[Asked]) -> None:
    one, sampled = student(), animated(student(), asked[1:2])[0]
    image = torch.from_numpy(asked[1].subject.frames_THWC[0]).permute(2, 0, 1)[None].float() / 255
    tokens = torch.from_numpy(captions.encode(asked[1].caption))[None]
    start = noise(evaluation.SEED, 0, (8, 4, SIDE, SIDE))[None]
    with torch.no_grad():
        frames = one.animator(SIDE)(image, tokens, start).permute(0, 2, 3, 1).numpy()
    gap = np.abs(frames[1:].astype(int) - sampled[1:])
    assert (gap * (sampled[1:, ..., 3:] > 0)).max() <= 2


# --- arithmetic ------------------------------------------------------------------------------


def test_arithmetic_grows_with_steps_by_the_same_amount() -> None:
    one, two, three = (
        gigaflops(student(levels, side=16)) for levels in ((1, 0), (1, 0.5, 0), (1, 0.6, 0.3, 0))
    )
    assert 0 < two - one == pytest.approx(three - two, rel=1e-6)
    assert one > two - one, "the sticker is looked at once, besides the steps"


def test_arithmetic_doubles_with_guidance() -> None:
    once, twice = (gigaflops(student(guidance=guidance, side=16)) for guidance in (1.0, 2.0))
    assert twice == pytest.approx(2 * once)


def test_arithmetic_is_that_of_every_layer_counted_by_hand() -> None:
    """Convolutions and matrices by their shapes; attention adds little to them."""
    one = student((1, 0))
    counted: list[int] = []

    def count(module: torch.nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        weight = module.get_parameter("weight")
        counted.append(2 * weight.numel() * out.numel() // len(weight))

    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    layers = [layer for layer in one.network.modules() if isinstance(layer, kinds)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    total = gigaflops(one)
    for handle in handles:
        handle.remove()
    assert sum(counted) / 1e9 <= total <= 1.3 * sum(counted) / 1e9


def test_composed_of_the_truth_is_the_truth_but_for_resampling() -> None:
    shown = list(held_out(COUNT))
    table = summarise(rows_of(told_the_truth(shown), shown, judge_of(shown)))
    assert table["psnr"].value > 25 and table["warp"].value < 0.03
    assert table["first_psnr"].value == PSNR_CAP
    assert 0.8 < table["sharpness"].value < 1.0
