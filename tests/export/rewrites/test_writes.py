"""What is written slice by slice is put together at once."""

import torch
from torch import Tensor

from minuet.export.rewrites.constants import RemoveNothing
from minuet.export.rewrites.writes import GatherWrites
from tests.export.rewrites.rewriting import random, rewriting


def test_interleaved_writes_become_a_stack() -> None:
    def rotate(x: Tensor, cos: Tensor) -> Tensor:
        out = torch.empty_like(x)
        out[..., 0::2] = x[..., 1::2] * cos
        out[..., 1::2] = x[..., 0::2].sin()
        return out

    done = rewriting(rotate, (random(2, 3, 8), random(2, 3, 4)), RemoveNothing(), GatherWrites())
    done.assert_equal(0.0)
    assert done.count("stack") == 1 and done.count("scatter") + done.count("empty") == 0


def test_successive_ranges_become_a_concatenation_and_the_last_write_wins() -> None:
    def halves(x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        out[:, :3] = x[:, 5:]
        out[:, 3:] = x[:, :5].cos()
        out[:, :3] = x[:, 2:5].sin()
        return out

    done = rewriting(halves, (random(4, 8),), RemoveNothing(), GatherWrites())
    done.assert_equal(0.0)
    assert done.count("cat") == 1 and done.count("scatter") == 0


def test_a_place_that_is_left_is_refused() -> None:
    def part(x: Tensor) -> Tensor:
        out = x.clone()
        out[:, 2:5] = x[:, :3].sin()
        return out

    done = rewriting(part, (random(4, 8),), RemoveNothing(), GatherWrites())
    done.assert_equal(0.0)
    (place,) = done.log.refused
    assert place.refusal is not None and "do not fill" in place.refusal.reason
