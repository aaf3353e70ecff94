"""An input counts where something of it reaches an output, however it gets there."""

import torch
from torch import Tensor

from minuet.export.sources.flow import used


def run(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor) -> tuple[Tensor, ...]:
    canvas = torch.zeros(4)
    canvas[:2] = a  # into a view, in place
    _ = (b * 2).sum()  # looked at, and thrown away
    d.view(2, 2).mul_(e)  # e is in d from here on
    return canvas + c.long(), d


def test_only_inputs_that_reach_an_output_are_used() -> None:
    given = [torch.ones(2), torch.ones(4), torch.ones(4), torch.ones(4), torch.tensor(2.0)]
    wanted, outputs = used(run, given)
    assert wanted == [True, False, True, True, True]
    assert outputs[0].tolist() == [2, 2, 1, 1] and outputs[1].tolist() == [2] * 4


def test_the_callers_tensors_are_left_alone() -> None:
    given = [torch.ones(2), torch.ones(4), torch.ones(4), torch.ones(4), torch.tensor(2.0)]
    used(run, given)
    assert given[3].tolist() == [1] * 4
