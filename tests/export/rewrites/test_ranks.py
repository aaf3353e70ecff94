"""Chains of moves keep every element in its place, in few axes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from minuet.export.rewrites.ranks import FoldMoves, plan
from tests.export.rewrites.rewriting import random, rewriting


def patchify(x: Tensor) -> Tensor:  # LTX, Wan, CogVideoX: (B, C, T, H, W) -> tokens
    b, c, t, h, w = x.shape
    x = x.reshape(b, c, t // 1, 1, h // 2, 2, w // 2, 2)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4, 7).flatten(1, 3)


def unpatchify(x: Tensor) -> Tensor:  # and back
    x = x.reshape(1, 2, 3, 4, 5, 1, 2, 2).permute(0, 4, 1, 5, 2, 6, 3, 7)
    return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)


def flux_patchify(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    x = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(b, (h // 2) * (w // 2), c * 4)


def shuffle_3d(x: Tensor) -> Tensor:  # a pixel shuffle with time
    x = x.reshape(2, 3, 2, 2, 2, 4, 5, 6).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(2, 3, 8, 10, 12)


CASES = {
    "patchify": (patchify, (1, 5, 2, 6, 8)),
    "unpatchify": (unpatchify, (1, 24, 20)),
    "flux": (flux_patchify, (2, 3, 4, 6)),
    "shuffle": (shuffle_3d, (2, 24, 4, 5, 6)),
}


@pytest.mark.parametrize(
    ("name", "rank"),
    [("patchify", 5), ("unpatchify", 5), ("flux", 5), ("flux", 4), ("shuffle", 5)],
)
def test_patches_are_made_in_few_axes(name: str, rank: int) -> None:
    function, shape = CASES[name]
    done = rewriting(lambda x: function(x) * 2, (random(*shape),), FoldMoves(rank))
    done.assert_equal(0.0)
    assert done.rank <= rank


def test_moves_that_undo_one_another_vanish() -> None:
    def there_and_back(x: Tensor) -> Tensor:
        return x.permute(0, 2, 1).reshape(2, 15).reshape(2, 5, 3).transpose(1, 2).sin()

    done = rewriting(there_and_back, (random(2, 3, 5),), FoldMoves(5))
    done.assert_equal(0.0)
    assert done.length == (5, 1)


def test_an_operator_that_computes_on_six_axes_is_refused_by_name() -> None:
    def wide(x: Tensor) -> Tensor:
        return x.reshape(1, 2, 3, 2, 2, 2).softmax(-1).reshape(6, 8)

    done = rewriting(wide, (random(6, 8),), FoldMoves(5))
    done.assert_equal(0.0)
    assert any("softmax" in place.refusal.reason for place in done.log.refused if place.refusal)
    assert done.rank == 6


def test_a_reshape_without_common_factors_is_refused() -> None:
    def crooked(x: Tensor) -> Tensor:
        return x.permute(1, 0).reshape(3, 8).permute(1, 0).reshape(2, 2, 2, 1, 3, 1).reshape(24) * 2

    done = rewriting(crooked, (random(6, 4),), FoldMoves(5))
    done.assert_equal(0.0)
    (place,) = done.log.refused
    assert place.refusal is not None and "no such factor" in place.refusal.reason


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_order_of_blocks_is_reached_in_steps_of_few_axes(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 7))
    sizes = data.draw(st.lists(st.integers(2, 3), min_size=count, max_size=count))
    order = data.draw(st.permutations(range(count)))
    rank = data.draw(st.sampled_from([3, 4, 5]))
    x = torch.arange(math.prod(sizes))
    wanted = x.reshape(sizes).permute(order).reshape(-1)
    merged, least = _merged(sizes, list(order))
    found = x
    for step in plan(merged, least, rank):
        assert len(step.sizes) <= rank
        found = found.reshape(step.sizes).permute(step.order)
    assert torch.equal(found.reshape(-1), wanted)


def _merged(sizes: list[int], order: list[int]) -> tuple[list[int], list[int]]:
    """Sizes and order as the planner gets them: neighbours in both are one block."""
    from minuet.export.rewrites.layout import Atom, Chain

    atoms = tuple(Atom(size) for size in sizes)
    axes = tuple((atoms[at],) for at in order)
    node = torch.fx.Graph().placeholder("x")
    return Chain(source=node, nodes=(node,), origin=atoms, axes=axes).permutation()


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_random_chains_of_moves_stay_equal(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.sampled_from([1, 2, 3]), min_size=3, max_size=6))
    first = data.draw(st.permutations(range(len(sizes))))
    cut = data.draw(st.integers(1, len(sizes) - 1))
    total = math.prod(sizes)

    def moves(x: Tensor) -> Tensor:
        x = x.reshape(sizes).permute(first)
        x = x.flatten(0, cut - 1) if cut > 1 else x.unsqueeze(0)
        x = x.transpose(0, -1).contiguous()
        return x.reshape(total) + 1

    done = rewriting(moves, (random(total),), FoldMoves(5))
    done.assert_equal(0.0)
    assert done.length[1] <= done.length[0]
