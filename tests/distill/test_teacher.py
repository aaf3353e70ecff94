"""A network as a teacher: its own sampler, its own guidance, nobody's gradients."""

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.path import euler, levels, noise
from minuet.distill.predict import Condition
from minuet.distill.sample import sample
from minuet.distill.teacher import (
    Animates,
    NetworkTeacher,
    PredictorTeacher,
    Space,
    Teacher,
    insist_same_space,
)
from tests.distill.squares import FRAMES, squares
from tests.models.tiny import LEVELS, denoiser

SIDE = 16


def teacher(guidance: float = 1.5, levels: tuple[float, ...] = LEVELS) -> NetworkTeacher:
    return NetworkTeacher(
        name="one", network=denoiser(), levels=levels, guidance=guidance, bfloat16=False
    )


def inputs(clips: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(4)
    tokens = torch.randint(1, 32, (clips, 16), generator=rng, dtype=torch.int32)
    starts = torch.stack([noise(3, clip, (FRAMES, 4, SIDE, SIDE)) for clip in range(clips)])
    return squares(clips, SIDE).sticker_BCHW, tokens, starts


def test_a_teacher_answers_by_its_own_levels_and_guidance() -> None:
    one: Animates = teacher()
    also: Teacher = teacher()
    assert also.name == one.name
    answer = one.animate(*inputs())
    expected = sample(denoiser(), *inputs(), LEVELS, guidance=1.5, bfloat16=False)
    assert_close(answer.affine_NK6, expected.affine_NK6)
    assert_close(answer.paint_NCHW, expected.paint_NCHW)


def test_guidance_and_levels_change_the_answer() -> None:
    answer = teacher().animate(*inputs()).affine_NK6
    for other in (teacher(guidance=1.0), teacher(levels=(1.0, 0.0))):
        assert (answer - other.animate(*inputs()).affine_NK6).abs().max() > 1e-4


def test_an_answer_is_float32_without_gradients_even_from_bfloat16() -> None:
    coarse = NetworkTeacher(name="one", network=denoiser(), levels=LEVELS, guidance=1.5)
    fields = coarse.animate(*inputs())
    for answer in (fields.affine_NK6, fields.parts_NKHW, fields.gate_N1HW, fields.paint_NCHW):
        assert answer.dtype == torch.float32 and not answer.requires_grad
    exact = teacher().animate(*inputs()).affine_NK6
    assert (fields.affine_NK6 - exact).abs().max() < 0.1 * exact.abs().max()


def test_what_stands_beside_a_sticker_does_not_change_its_answer() -> None:
    together = teacher().animate(*inputs(3)).affine_NK6
    alone = teacher().animate(*(tensor[2:] for tensor in inputs(3))).affine_NK6
    assert_close(together[2 * FRAMES :], alone, atol=1e-5, rtol=1e-4)


def told() -> dict[str, torch.Tensor]:
    sticker, tokens, _ = inputs()
    return {"sticker": sticker, "tokens": tokens}


def test_its_guided_answer_at_a_level_is_its_samplers_one_step() -> None:
    noisy = inputs()[2]
    for t in (1.0, 0.4):
        found = teacher().predict(noisy, torch.full((2,), t), told())
        step = teacher(levels=(t, 0.0)).sample(noisy, told())
        assert_close(found, step, atol=1e-5, rtol=1e-4)
    both = teacher().predict(noisy, torch.tensor([1.0, 0.4]), told())
    assert_close(both[1], found[1], atol=1e-5, rtol=1e-4)


def test_our_steps_through_its_answers_are_its_own_samples() -> None:
    noisy = inputs()[2]
    for t, s in pairwise(LEVELS):
        noisy = euler(noisy, teacher().predict(noisy, torch.full((2,), t), told()), t, s)
    assert_close(noisy, teacher().sample(inputs()[2], told()), atol=1e-4, rtol=1e-3)


def test_its_space_is_its_clips_pixels_and_its_digest_all_that_it_answers_by() -> None:
    one = teacher()
    assert one.space == Space(shape=(FRAMES, 4, SIDE, SIDE)) and one.digest == teacher().digest
    assert teacher(guidance=2.0).digest != one.digest
    with torch.no_grad():
        next(one.network.parameters()).mul_(1.001)
    assert one.digest != teacher().digest


def test_a_student_of_another_space_is_refused_with_both() -> None:
    insist_same_space(teacher().space, teacher())
    student = Space(shape=(FRAMES, 4, 8, 8), codec="0123456789abcdef")
    both = r"one: answers in pixels of shape .*16.*works in latents of autoencoder 0123456789ab of"
    with pytest.raises(RequestError, match=both):
        insist_same_space(student, teacher())


class Gaussian(torch.nn.Module):
    """The ideal predictor of clips drawn from N(0.4, 0.7^2), more so the more it is told."""

    def forward(self, noisy: torch.Tensor, t_B: torch.Tensor, condition: Condition) -> torch.Tensor:
        t, mean = t_B[:, None], 0.4 * condition["words"].float()[:, :1]
        gain = (1 - t) * 0.49 / ((1 - t) ** 2 * 0.49 + t**2)
        return mean + gain * (noisy - (1 - t) * mean)


def gaussian(**scales: float) -> PredictorTeacher:
    return PredictorTeacher(
        name="ideal",
        predictor=Gaussian(),
        space=Space(shape=(5,)),
        levels=levels(200, 1.0),
        scales=scales,
    )


def test_any_predictor_is_a_teacher_and_samples_what_it_knows() -> None:
    """Of one Gaussian the flow is known: noise e ends at mean + width e."""
    start = torch.linspace(-2, 2, 5)[None]
    words = {"words": torch.ones(1, 1, dtype=torch.int32)}
    one: Teacher = gaussian()
    assert_close(one.sample(start, words), 0.4 + 0.7 * start, atol=0.01, rtol=0)
    assert one.digest == gaussian().digest != gaussian(words=2.0).digest
    t_B = torch.tensor([1.0])
    assert_close(one.predict(start, t_B, words), torch.full_like(start, 0.4))
    assert_close(gaussian(words=2.0).predict(start, t_B, words), torch.full_like(start, 0.8))
