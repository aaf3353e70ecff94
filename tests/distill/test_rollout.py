"""Many steps reach what an exact teacher knows, by one way or the other."""

import pytest
import torch
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill.path import generator, levels
from minuet.distill.rollout import checked, descend, generate, shared
from tests.distill.few.mixture import WIDTH, Mixture, seen

MANY = levels(64, 1.0)


def test_an_exact_teacher_recovers_every_mode_in_many_steps() -> None:
    found = seen(Mixture(), MANY)
    assert found.uncovered < 0.05
    assert found.stray < 0.01
    assert found.distance == pytest.approx(WIDTH * (torch.pi / 2) ** 0.5, rel=0.15)  # Rayleigh's


def test_euler_needs_no_randomness_and_anew_means_anew() -> None:
    z, teacher = torch.randn(8, 2, generator=generator(1)), Mixture()
    assert torch.equal(generate(teacher, z, MANY, {}), generate(teacher, z, MANY, {}))
    first = generate(teacher, z, MANY, {}, generator(2))
    assert torch.equal(first, generate(teacher, z, MANY, {}, generator(2)))
    assert not torch.equal(first, generate(teacher, z, MANY, {}, generator(3)))


def test_each_clip_may_walk_its_own_levels() -> None:
    z, teacher = torch.randn(2, 2, generator=generator(1)), Mixture()
    ways = [(1.0, 0.8, 0.4), (0.6, 0.5, 0.0)]
    both = descend(teacher, z, [torch.tensor(pair) for pair in zip(*ways, strict=True)], {})
    for at, way in enumerate(ways):
        alone = descend(teacher, z[at : at + 1], shared(way, z[:1]), {})
        assert_close(both[at : at + 1], alone)


def test_levels_that_do_not_fall_from_one_to_zero_are_refused() -> None:
    for wrong in ([1.0], [0.9, 0.0], [1.0, 0.5], [1.0, 0.5, 0.5, 0.0]):
        with pytest.raises(RequestError, match="fall from 1 to 0"):
            checked(wrong)
