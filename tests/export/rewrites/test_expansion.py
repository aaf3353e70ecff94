"""Work on what is repeated is done once."""

import pytest
import torch
from torch import Tensor, nn

from minuet.export.rewrites.expansion import DelayExpansion
from tests.export.rewrites.rewriting import random, rewriting

T = 6
REPEATS = {
    "repeat_interleave": lambda x: x.repeat_interleave(T, dim=0),
    "repeat": lambda x: x.repeat(T, 1, 1),
    "expand": lambda x: x[:, None].expand(-1, T, -1, -1).reshape(-1, *x.shape[1:]),
    "unsqueeze and repeat": lambda x: x.unsqueeze(1).repeat(1, T, 1, 1).flatten(0, 1),
}


def multiplications(program: torch.export.ExportedProgram) -> int:
    """Multiply-adds of all linear layers."""
    nodes = [n for n in program.graph.nodes if str(n.target) == "aten.linear.default"]
    return sum(n.meta["val"].numel() * n.args[0].meta["val"].shape[-1] for n in nodes)


@pytest.mark.parametrize("how", REPEATS)
def test_a_caption_is_projected_once_and_not_once_a_frame(how: str) -> None:
    def project(self: nn.Module, caption: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(REPEATS[how](caption)))  # type: ignore[operator]
        return self.second(hidden)  # type: ignore[operator,no-any-return]

    layers = {"first": nn.Linear(4, 8), "second": nn.Linear(8, 3)}
    done = rewriting(project, (random(2, 5, 4),), DelayExpansion(), **layers)
    done.assert_equal()
    assert multiplications(done.before) == T * multiplications(done.after)


def test_a_repeated_picture_is_convolved_once() -> None:
    def look(self: nn.Module, x: Tensor) -> Tensor:
        frames = x[:, None].expand(2, T, 3, 8, 8).flatten(0, 1)
        return self.conv(self.norm(frames))  # type: ignore[operator,no-any-return]

    parts = {"norm": nn.GroupNorm(3, 3), "conv": nn.Conv2d(3, 4, 3)}
    done = rewriting(look, (random(2, 3, 8, 8),), DelayExpansion(), **parts)
    done.assert_equal()
    assert done.log.applied["expansion delayed"] == 2
    conv = next(n for n in done.after.graph.nodes if "conv2d" in str(n.target))
    assert conv.meta["val"].shape[0] == 2


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8)])
def test_channels_of_a_single_picture_are_no_clips(shape: tuple[int, ...]) -> None:
    def look(self: nn.Module, x: Tensor) -> Tensor:
        return self.conv(x.expand(3, 8, 8))  # type: ignore[operator,no-any-return]

    done = rewriting(look, (random(*shape),), DelayExpansion(), conv=nn.Conv2d(3, 4, 3))
    done.assert_equal(0.0)
    assert done.log.places == ()


def test_a_repetition_within_the_axis_that_is_mixed_is_refused() -> None:
    def mix(self: nn.Module, x: Tensor) -> Tensor:
        return self.layer(x.repeat(1, T))  # type: ignore[operator,no-any-return]

    done = rewriting(mix, (random(2, 4),), DelayExpansion(), layer=nn.Linear(4 * T, 3))
    (place,) = done.log.refused
    assert place.refusal is not None and "mixes a repeated axis" in place.refusal.reason


def test_repeated_time_is_not_moved_below_a_convolution_in_time() -> None:
    def mix(self: nn.Module, x: Tensor) -> Tensor:
        return self.conv(x.expand(2, 3, T, 4, 4))  # type: ignore[operator,no-any-return]

    done = rewriting(mix, (random(2, 3, 1, 4, 4),), DelayExpansion(), conv=nn.Conv3d(3, 2, 3))
    assert len(done.log.refused) == 1 and not done.log.applied
