"""Operators on many axes give the same on few."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from minuet.export.rewrites.axes import FoldAxes
from minuet.export.rewrites.ranks import FoldMoves
from tests.export.rewrites.rewriting import random, rewriting

WIDE = (2, 3, 2, 1, 4, 5)
RULES = FoldAxes(5), FoldMoves(5)


def doubled_in_time(x: Tensor) -> Tensor:  # Wan's decoder: two halves of the channels interleaved
    b, c, t, h, w = x.shape
    x = x.view(b, 2, c // 2, t, h, w)
    return torch.stack((x[:, 0, :, :, :, :], x[:, 1, :, :, :, :]), 3).reshape(
        b, c // 2, t * 2, h, w
    )


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "select": lambda x: x.select(2, 1),
    "slice": lambda x: x[:, :, :, :, 1:4:2].flatten(2),
    "cat": lambda x: torch.cat([x, x.sin()], -1).flatten(1),
    "stack first": lambda x: torch.stack([x, x.sin()]).flatten(2),
    "stack last": lambda x: torch.stack([x, x.sin()], -1).flatten(2),
    "softmax": lambda x: x.softmax(1).flatten(0, 2),
    "mean": lambda x: x.mean((1, -1), keepdim=True).flatten(2),
    "sum of all": lambda x: x.sum((0, 1, 2, 3, 4, 5)),
    "cumsum": lambda x: x.cumsum(4).flatten(2),
    "gelu": lambda x: torch.nn.functional.gelu(x, approximate="tanh").flatten(1),
    "product": lambda x: (x * x[:, :, :1] + 2 * x[0, 0]).flatten(2),
    "scalar": lambda x: (x * x.flatten().sum()).flatten(3),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operator_gives_the_same_on_few_axes(name: str) -> None:
    done = rewriting(lambda x: CASES[name](x.view(WIDE)), (random(6, 2, 20),), *RULES)
    done.assert_equal()
    assert done.rank <= 5
    assert done.log.applied[RULES[0].name] > 0


def test_frames_made_of_channels_need_no_sixth_axis() -> None:
    done = rewriting(doubled_in_time, (random(1, 6, 2, 3, 4),), *RULES)
    done.assert_equal(0.0)
    assert done.rank <= 5


def test_axes_that_are_all_treated_differently_are_refused_with_their_number() -> None:
    def mixed(x: Tensor) -> Tensor:
        x = x.view(2, 3, 2, 2, 4, 5)
        return (x * x[:1, :, :1, :, :1]).flatten(1)

    done = rewriting(mixed, (random(6, 4, 20),), *RULES)
    done.assert_equal()
    reasons = [place.refusal.reason for place in done.log.refused if place.refusal]
    assert any("mul (aten.mul.Tensor) works on 6 groups of axes" in one for one in reasons)


def test_an_operator_of_another_kind_is_refused_by_name() -> None:
    done = rewriting(
        lambda x: x.view(2, 3, 2, 1, 4, 5).flip(1).flatten(1), (random(6, 40),), *RULES
    )
    done.assert_equal(0.0)
    reasons = [place.refusal.reason for place in done.log.refused if place.refusal]
    assert any("aten.flip.default" in one and "not known" in one for one in reasons)
