"""A network as a teacher: its own sampler, its own guidance, nobody's gradients."""

import torch
from torch.testing import assert_close

from minuet.distill.path import noise
from minuet.distill.sample import sample
from minuet.distill.teacher import NetworkTeacher, Teacher
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
    one: Teacher = teacher()
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
