"""Every teacher answers every request from the same noise, and the store keeps what it answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.ensemble import OPAQUE, Candidate, Request, candidates, shrunk
from minuet.distill.path import noise
from minuet.distill.predict import Condition
from minuet.distill.store import ClipStore, write_shard
from minuet.distill.teacher import Animates, Films, NetworkTeacher
from minuet.models.compose import Fields, compose, premultiply, total_flow, unpremultiply
from tests.distill.squares import FRAMES, motions, squares
from tests.models.tiny import LEVELS, denoiser

SIDE, PARTS, SEED = 16, 3, 9
NUMBERS = (7, 2, 40)


def requests() -> list[Request]:
    sticker = squares(1, SIDE).sticker_BCHW[0]
    return [
        Request(
            sticker_CHW=sticker * (1 - 0.2 * at),
            caption=f"square {number}",
            tokens_L=np.full(16, number % 32, np.int32),
            motion="slide",
            number=number,
        )
        for at, number in enumerate(NUMBERS)
    ]


def flat(clips: int, painted: float) -> Fields:
    """The squares' own motions; a share of rows, from the top, painted half transparent red."""
    n = clips * FRAMES
    part = squares(1, SIDE).part_NHW[0].long()
    gate = torch.full((n, 1, SIDE, SIDE), 9.0)
    gate[:, :, : round(painted * SIDE)] = -9.0
    paint = torch.zeros(n, 4, SIDE, SIDE)
    paint[:, [0, 3]] = 0.5
    return Fields(
        affine_NK6=(motions(clips) - torch.eye(3)[:2]).reshape(n, PARTS, 6),
        parts_NKHW=F.one_hot(part, PARTS).permute(2, 0, 1).expand(n, -1, -1, -1) * 8.0,
        dense_N2HW=torch.zeros(n, 2, SIDE, SIDE),
        gate_N1HW=gate,
        paint_NCHW=paint,
    )


@dataclass
class Told:
    """A teacher that answers by formula and remembers what it was asked."""

    name: str
    painted: float = 0.0
    asked: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def animate(self, sticker_BCHW: Tensor, tokens_BL: Tensor, noise_BTCHW: Tensor) -> Fields:
        self.asked.append((sticker_BCHW, tokens_BL, noise_BTCHW))
        return flat(len(sticker_BCHW), self.painted)


def answers(*teachers: Told) -> list[Candidate]:
    return list(candidates(teachers, requests(), SEED, FRAMES))


def test_every_teacher_answers_every_request() -> None:
    found = answers(Told("one"), Told("two"))
    told = [(one.teacher, one.request.number) for one in found]
    assert told == [(name, number) for name in ("one", "two") for number in NUMBERS]
    for one in found:
        assert one.clip.source == one.teacher and one.clip.noise == one.request.number
        assert one.clip.captions == (f"square {one.clip.noise}",)
        assert one.clip.tokens_VL.tolist() == [[one.clip.noise % 32] * 16]


def test_all_teachers_are_asked_the_same_from_the_noise_of_each_number() -> None:
    one, two = Told("one"), Told("two")
    answers(one, two)
    (first,), (second,) = one.asked, two.asked
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(first[0], torch.stack([request.sticker_CHW for request in requests()]))
    for at, number in enumerate(NUMBERS):
        assert torch.equal(first[2][at], noise(SEED, number, (FRAMES, 4, SIDE, SIDE)))
        assert first[1][at].tolist() == [number % 32] * 16


def test_a_clip_is_stored_in_the_shapes_of_the_world() -> None:
    clip = answers(Told("one"))[0].clip
    assert clip.frames_THWC.shape == (FRAMES, SIDE, SIDE, 4)
    assert clip.part_THW.shape == clip.mask_THW.shape == (FRAMES, SIDE, SIDE)
    assert clip.frames_THWC.dtype == clip.part_THW.dtype == np.uint8
    assert clip.mask_THW.dtype == np.bool_
    assert clip.affine_TK23.shape == (FRAMES, PARTS, 2, 3)
    assert clip.affine_TK23.dtype == np.float32


def test_parts_and_motions_are_those_that_the_teacher_said() -> None:
    for at, one in enumerate(answers(Told("one"))):
        np.testing.assert_allclose(one.clip.affine_TK23, motions(3)[at], atol=1e-6)
        np.testing.assert_array_equal(one.clip.part_THW, squares(1, SIDE).part_NHW)


@torch.no_grad()
def test_stored_frames_are_the_composed_frames() -> None:
    for at, one in enumerate(answers(Told("one", painted=0.25))):
        fields = flat(3, 0.25)
        clip = Fields(
            **{
                name: getattr(fields, name)[at * FRAMES : (at + 1) * FRAMES]
                for name in Fields.__dataclass_fields__
            }
        )
        moved = compose(requests()[at].sticker_CHW[None], clip, FRAMES)
        composed = premultiply(unpremultiply(moved)).permute(0, 2, 3, 1)  # colours that exist
        stored = torch.from_numpy(one.clip.frames_THWC).double() / 255
        again = torch.cat([stored[..., :3] * stored[..., 3:], stored[..., 3:]], -1)
        assert_close(again.float(), composed, atol=1.01 / 255, rtol=0)
        alpha = composed[..., 3]
        clear = ((alpha - OPAQUE).abs() > 1e-5).numpy()  # at the bound itself, rounding decides
        assert clear.mean() > 0.99
        assert (one.clip.mask_THW == (alpha > OPAQUE).numpy())[clear].all()


def test_the_stored_truth_leads_back_to_the_first_frame() -> None:
    """Its parts and motions give the very flow that the frames were made with."""
    one = answers(Told("one"))[1].clip
    fields = flat(3, 0.0)
    flow = total_flow(fields, SIDE)[FRAMES : 2 * FRAMES].permute(0, 2, 3, 1).numpy()
    line = (np.arange(SIDE) * 2 + 1) / SIDE - 1
    for t, y, x in ((1, 5, 3), (3, 9, 12), (2, 8, 8)):
        here = np.array([line[x], line[y], 1.0])
        there = one.affine_TK23[t, one.part_THW[t, y, x]] @ here
        np.testing.assert_allclose(there - here[:2], flow[t, y, x], atol=0.01)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_painted_is_the_share_of_the_stickers_pixels_that_did_not_move(share: float) -> None:
    one = answers(Told("one", painted=share))[0]
    rows = slice(0, round(share * SIDE))
    expected = one.clip.mask_THW[:, rows].sum() / one.clip.mask_THW.sum()
    assert one.painted == pytest.approx(expected) and (one.painted > 0) == (share > 0)


def test_a_network_is_a_teacher_and_answers_the_same_twice() -> None:
    teacher = NetworkTeacher(name="net", network=denoiser(), levels=LEVELS, guidance=1.5)
    once, again = (list(candidates([teacher], requests(), SEED, FRAMES)) for _ in range(2))
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a.clip.frames_THWC, b.clip.frames_THWC)
        assert a.clip.affine_TK23.shape == (FRAMES, PARTS, 2, 3) and 0 <= a.painted <= 1
    assert (once[0].clip.frames_THWC != once[1].clip.frames_THWC).any()


def test_a_picture_shrinks_by_the_mean_of_its_premultiplied_squares() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    image[:4, :4, 3] = 0
    small = shrunk(image, 2)
    rgba = image.astype(np.float64) / 255
    rgba[..., :3] *= rgba[..., 3:]
    expected = np.array(
        [[rgba[4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean((0, 1)) for x in (0, 1)] for y in (0, 1)]
    )
    np.testing.assert_allclose(small.permute(1, 2, 0), expected, atol=1e-6)
    assert not small[:, 0, 0].any()


@dataclass
class Filming:
    """A teacher of pictures: a square that moves over one colour, at four times the size."""

    name: str = "film"
    background: float = 1.0
    length: int = 2 * FRAMES
    told: list[Condition] = field(default_factory=list)

    def film(self, condition: Condition, seed: int, numbers: Sequence[int]) -> Tensor:
        self.told.append(condition)
        frames = torch.full((len(numbers), self.length, 3, 4 * SIDE, 4 * SIDE), self.background)
        if self.background < 0:
            return torch.rand(frames.shape, generator=torch.Generator().manual_seed(seed))
        for at in range(self.length):
            frames[:, at, 0, 16:40, 8 + at : 32 + at] = 0.5
            frames[:, at, 1:, 16:40, 8 + at : 32 + at] = 0.1
        return frames


def test_a_teacher_of_pictures_gives_clips_that_know_no_parts() -> None:
    teacher = Filming()
    found = list(candidates([teacher], requests(), SEED, FRAMES, parts=PARTS))
    assert [one.request.number for one in found] == list(NUMBERS)
    clip = found[0].clip
    assert not clip.truth and clip.source == "film" and clip.noise == -1
    assert clip.frames_THWC.shape == (FRAMES, SIDE, SIDE, 4)
    assert clip.affine_TK23.shape == (FRAMES, PARTS, 2, 3) and found[0].painted == 0
    for at in range(FRAMES):  # every second frame of twice as many
        alpha = np.zeros((4 * SIDE, 4 * SIDE))
        alpha[16:40, 8 + 2 * at : 32 + 2 * at] = 255
        small = alpha.reshape(SIDE, 4, SIDE, 4).mean((1, 3))
        np.testing.assert_allclose(clip.frames_THWC[at, ..., 3], small, atol=1)
        assert (clip.mask_THW[at] == (small > OPAQUE * 255)).all()
    assert clip.frames_THWC[0, 6, 4].tolist() == [128, 26, 26, 255]
    assert bytes(teacher.told[1]["text"][0].tolist()).decode() == "square 2"


def test_its_clips_are_stored_beside_those_of_teachers_that_know(tmp_path: Path) -> None:
    teachers: list[Animates | Films] = [Told("one"), Filming()]
    clips = [one.clip for one in candidates(teachers, requests(), SEED, FRAMES, parts=PARTS)]
    write_shard(tmp_path / "clips-00000.safetensors", clips, {})
    truth = ClipStore(tmp_path, 6).batch(list(range(6)), torch.zeros(6)).truth_B
    assert truth is not None and truth.tolist() == [True] * 3 + [False] * 3


def test_frames_without_a_flat_background_are_refused_and_told() -> None:
    told: list[tuple[str, int, str]] = []
    found = candidates(
        [Filming(background=-1.0)],
        requests(),
        SEED,
        FRAMES,
        refused=lambda name, request, why: told.append((name, request.number, str(why))),
    )
    assert not list(found) and [row[1] for row in told] == list(NUMBERS)
    assert told[0][0] == "film" and "no flat background" in told[0][2]


def test_a_teacher_of_too_few_frames_is_refused() -> None:
    with pytest.raises(RequestError, match="film: makes 1 frames, and a clip has 4"):
        list(candidates([Filming(length=1)], requests(), SEED, FRAMES))
