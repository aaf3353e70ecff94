"""Who teaches at which noise: layout from one source, palette from the other."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.batch import Batch
from minuet.distill.loop import TrainConfig, Trainer
from minuet.distill.path import at, euler, levels
from minuet.distill.predict import Condition, Predictor
from minuet.distill.tailor import (
    CleanLoss,
    Draw,
    Levelled,
    Ranges,
    Routed,
    RoutedDraw,
    RoutedTeacher,
    joined,
    level_of,
    log_snr,
)
from tests.distill.squares import draw as squares

CUT = -3.5  # log-SNR: t = 0.85
SIDE = 8


def picture(left: bool, blue: float) -> Tensor:
    """Red, blue, alpha (3, SIDE, SIDE) in [-1, 1]: half the canvas is covered."""
    found = torch.full((3, SIDE, SIDE), -1.0)
    half = slice(0, SIDE // 2) if left else slice(SIDE // 2, SIDE)
    for channel, value in enumerate((-blue, blue, 1.0)):
        found[channel, :, half] = value
    return found


CONTENT = picture(True, 0.0)[None]  # on the left, and grey
STYLE = torch.stack([picture(True, 1.0), picture(False, 1.0)])  # on any side, and blue


@dataclass(frozen=True)
class Pictures:
    """A lesson without conditions."""

    x0: Tensor

    @property
    def condition(self) -> Condition:
        return {}


def drawn(clips: Tensor) -> Draw:
    def draw(size: int, rng: torch.Generator) -> Pictures:
        return Pictures(clips[torch.randint(len(clips), (size,), generator=rng)])

    return draw


def exact(clips: Tensor) -> Predictor:
    """The best clean estimate there is where the clips are all there is: their posterior mean."""

    def predict(noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        t = at(t_B, noisy)
        apart = (noisy[:, None] - (1 - t[:, None]) * clips).flatten(2).square().sum(2)
        weights = torch.softmax(-apart / (2 * t_B[:, None] ** 2), dim=1)
        return torch.einsum("bk,kchw->bchw", weights, clips)

    return predict


class Small(nn.Module):
    """A predictor of these pictures that can be trained in a second."""

    def __init__(self) -> None:
        super().__init__()
        size = 3 * SIDE * SIDE
        self.body = nn.Sequential(
            *(nn.Linear(size + 1, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU()),
            nn.Linear(96, size),
        )

    def forward(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        given = torch.cat([noisy.flatten(1), t_B[:, None]], dim=1)
        answer: Tensor = self.body(given)
        return answer.reshape(noisy.shape)


@torch.no_grad()
def sampled(predictor: Predictor, count: int = 200) -> tuple[float, float]:
    """Shares of samples that lie on the left, and that are blue."""
    z = torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    steps = levels(16, 1.0)
    for t, s in pairwise(steps):
        z = euler(z, predictor(z, torch.full((count,), t), {}), t, s)
    left = z[:, 2, :, : SIDE // 2].mean((1, 2)) > z[:, 2, :, SIDE // 2 :].mean((1, 2))
    blue = (z[:, 1] - z[:, 0]).abs().amax((1, 2)) > 1
    return float(left.float().mean()), float(blue.float().mean())


def trained(draw: Draw, folder: Path) -> Small:
    torch.manual_seed(0)
    config = TrainConfig(
        clips=500 * 64, batch=64, learning_rate=4e-3, warmup_clips=640, ema=0.9, save_seconds=1e9
    )
    trainer = Trainer(Small(), config, folder)
    trainer.run(Routed(loss=CleanLoss(asked=lambda network: network)), draw)
    assert isinstance(trainer.average, Small)
    return trainer.average


def test_layout_follows_one_data_set_and_palette_the_other(tmp_path: Path) -> None:
    def uniform(size: int, rng: torch.Generator) -> Tensor:
        return torch.rand(size, generator=rng).clamp(0.02, 1)

    content, style = drawn(CONTENT), drawn(STYLE)
    both = Ranges(sources=(content, style), cuts=(CUT,))
    left, blue = sampled(trained(RoutedDraw(ranges=both, levels=uniform), tmp_path / "both"))
    assert left > 0.8 and blue > 0.9


def test_layout_follows_one_teacher_and_palette_the_other() -> None:
    content, style = exact(CONTENT), exact(STYLE)
    left, blue = sampled(RoutedTeacher(ranges=Ranges(sources=(content, style), cuts=(CUT,))))
    assert left > 0.85 and blue == 1.0
    assert sampled(content)[1] == 0.0 and sampled(style)[0] < 0.7  # each alone


def test_levels_of_a_ratio_are_where_it_says() -> None:
    for ratio in (-5.0, 0.0, 3.0):
        assert float(log_snr(torch.tensor([level_of(ratio)]))) == pytest.approx(ratio, abs=1e-4)
    assert level_of(0.0) == 0.5
    found = Ranges(sources="abc", cuts=(-1.0, 1.0)).of(
        torch.tensor([0.0, 1.0, 0.5, level_of(-1.001), level_of(-0.999), level_of(1.001)])
    )
    assert found.tolist() == [2, 0, 1, 0, 1, 2]


def test_each_level_is_learnt_from_the_source_it_belongs_to() -> None:
    def only(value: float) -> Callable[[int, torch.Generator], Pictures]:
        return lambda size, rng: Pictures(torch.full((size, 1), value))

    draw = RoutedDraw(ranges=Ranges(sources=(only(0.0), only(1.0), only(2.0)), cuts=(-3.0, 1.0)))
    lesson = draw(200, torch.Generator().manual_seed(0))
    assert_close(lesson.x0[:, 0], draw.ranges.of(lesson.t_B).float())
    assert set(lesson.x0[:, 0].tolist()) == {0.0, 1.0, 2.0}
    again = draw(200, torch.Generator().manual_seed(0))
    assert torch.equal(lesson.t_B, again.t_B)


def test_sticker_batches_are_joined_clip_by_clip() -> None:
    rng = torch.Generator().manual_seed(0)
    first, second = squares(2, rng), squares(1, rng)
    both = joined([first, second])
    assert isinstance(both, Batch) and both.clips == 3
    assert_close(both.x0, torch.cat([first.x0, second.x0]))
    lesson = Levelled(lesson=both, t_B=torch.rand(3))
    assert lesson.condition["tokens"].shape[0] == 3


@pytest.mark.parametrize(
    "cuts", [(), (0.0, 1.0), (math.nan,), (math.inf,)], ids=["few", "many", "none", "endless"]
)
def test_ranges_that_are_none_are_refused(cuts: tuple[float, ...]) -> None:
    with pytest.raises(RequestError, match="2 sources need 1 cuts"):
        Ranges(sources="ab", cuts=cuts)
    with pytest.raises(RequestError, match="that rise"):
        Ranges(sources="abc", cuts=(1.0, -1.0))


def test_lessons_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(RequestError, match="do not make one batch"):
        joined([Pictures(torch.zeros(1, 2)), Pictures(torch.zeros(1, 3))])
