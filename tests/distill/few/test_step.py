"""Training sees what sampling will, and clips of any rank weigh alike."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minuet.distill.few.step import apart, arrived
from minuet.distill.path import generator
from minuet.distill.predict import Condition


def constant(z: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
    return torch.full_like(z, 3.0)


@pytest.mark.parametrize("renoise", [False, True])
def test_simulated_inputs_are_the_samplers_own_whatever_the_data_were(renoise: bool) -> None:
    for seed in range(8):
        z, t_B, step = arrived(
            constant,
            torch.zeros(4000, 2),
            (1.0, 0.5, 0.25, 0.0),
            {},
            generator(seed),
            renoise=renoise,
        )
        t = float(t_B[0])
        assert t == (1.0, 0.5, 0.25)[step] and (t_B == t).all()
        assert float(z.mean()) == pytest.approx(3 * (1 - t), abs=0.05)
        assert float(z.std()) == pytest.approx(t, rel=0.05)


def test_distances_weigh_as_clip_losses_do() -> None:
    x = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    assert_close(apart(x, torch.zeros(2, 2), torch.tensor([1.0, 0.1])), torch.tensor(8.5))
