"""The demonstration with two teachers, very small: what it shows to whom, and that it resumes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from minuet.contracts.files import read_json
from minuet.distill.path import generator
from scripts import factorized, recoloured

TINY = "--specs 3 --base 128 --edit 64 --motion 8 --rounds 3 --tests 2 --ways aligned".split()


@pytest.fixture(scope="module")
def data() -> recoloured.Cards:
    return recoloured.cards(seed=7, count=3)


def test_nobody_is_shown_a_recoloured_sticker_that_moves(data: recoloured.Cards) -> None:
    shown = [
        draw(data, 8, generator(1)).x0
        for draw in (recoloured.any_pose, recoloured.recoloured, recoloured.asked)
    ]
    assert [x0.ndim for x0 in shown] == [4, 4, 5]
    assert not shown[2].any()  # the student's question holds no answer
    clips = recoloured.moving(data, 8, generator(1))
    torch.testing.assert_close(clips.x0[:, 0] * 0.5 + 0.5, clips.condition["sticker"])


def test_the_editing_teachers_frames_are_of_another_colour(data: recoloured.Cards) -> None:
    def tint(frames: torch.Tensor) -> torch.Tensor:
        return frames[..., :3, :, :].float().sum((-1, -2)) / frames[..., 3, :, :].float().sum()

    own, edited = tint(data.clips_NTCHW[:, 0]), tint(data.edited_NPCHW[:, 0])
    assert ((own - edited).abs().amax(-1) > 0.05).all()


def test_a_new_networks_layers_of_time_change_nothing() -> None:
    network = recoloured.Painter().eval()
    with torch.no_grad():
        network.out.weight.normal_(0, 0.1, generator=generator(1))
    clip, t_B = torch.randn(2, 8, 4, 32, 32, generator=generator(2)), torch.tensor([0.2, 0.9])
    told = {"sticker": torch.rand(2, 4, 32, 32), "tokens": torch.tensor([[3, 4], [5, 0]])}
    frames = {name: value.repeat_interleave(8, 0) for name, value in told.items()}
    alone = network(clip.flatten(0, 1), t_B.repeat_interleave(8), frames)
    torch.testing.assert_close(network(clip, t_B, told).flatten(0, 1), alone, atol=0.02, rtol=0)


def test_a_row_stands_with_its_interval_and_its_paired_difference() -> None:
    scores = {name: np.array([1.0, 3.0]) for name in factorized.COLUMNS}
    best = {name: values - 0.5 for name, values in scores.items()}
    assert factorized.line("one", scores, None).startswith("| one | 2 [1, 3] |")
    assert "(+0.5 [+0.5, +0.5])" in factorized.line("one", scores, best)


@pytest.mark.slow
def test_the_table_has_every_row_and_a_second_run_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    try:
        factorized.main(["-o", str(tmp_path), *TINY])
        first, scores = capsys.readouterr().out, read_json(tmp_path / "scores.json")
        assert "aligned 1/1" in first and "edit_critic_loss" in first
        factorized.main(["-o", str(tmp_path), *TINY])
    finally:
        torch.set_num_threads(threads)
    assert "aligned 1/1" not in capsys.readouterr().out
    assert read_json(tmp_path / "scores.json") == scores
    assert {factorized.STACKED, factorized.ALIGNED} < set(scores)
