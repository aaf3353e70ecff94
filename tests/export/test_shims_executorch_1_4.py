"""Lowering is faster with the shims, and its result the same."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import traceback
from torch.nn import functional as F

from minuet.export.quiet import quiet
from minuet.export.shims_executorch_1_4 import NEEDS, content, fast_lowering, once


class Steps(nn.Module):
    """Three equal steps around an operator that XNNPACK does not take."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = F.layer_norm(torch.tanh(self.conv(x)), (8,))
        return x


def lowered(module: nn.Module, x: Tensor) -> Any:
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.export(module, (x,), strict=False)
        return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])


def run(edge: Any, x: Tensor) -> Tensor:
    with quiet():
        from executorch.runtime import Runtime

        file = edge.to_executorch().buffer  # the method reads it as long as it lives
        method = Runtime.get().load_program(file).load_method("forward")
    result: Tensor = method.execute([x])[0].clone()
    return result


@pytest.mark.slow
def test_the_shims_change_no_number_and_leave_nothing_behind() -> None:
    module, x = Steps().eval(), torch.rand(1, 3, 8, 8)
    with quiet():
        from executorch.backends.xnnpack import xnnpack_preprocess

    before = dict(vars(traceback)), dict(vars(xnnpack_preprocess))
    with fast_lowering():
        fast = lowered(module, x)
    assert before == (dict(vars(traceback)), dict(vars(xnnpack_preprocess)))
    plain = lowered(module, x)
    found = run(fast, x)
    torch.testing.assert_close(found, run(plain, x), rtol=0, atol=0)
    torch.testing.assert_close(found, module(x), rtol=1e-5, atol=1e-5)


def test_equal_steps_are_lowered_once() -> None:
    made: list[object] = []

    def preprocess(program: object, specs: object) -> int:
        made.append(program)
        return len(made)

    def piece(scale: float) -> Any:
        module = nn.Conv2d(1, 1, 1)
        nn.init.constant_(module.weight, scale)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        return torch.export.export(module, (torch.rand(1, 1, 4, 4),))

    remember = once(preprocess)
    assert [remember(piece(s), []) for s in (1.0, 1.0, 2.0)] == [1, 1, 2]
    assert content(piece(1.0)) != content(piece(2.0))


def test_every_named_pass_exists() -> None:
    with quiet():
        from executorch.backends.xnnpack._passes import XNNPACKPassManager
    example = torch.export.export(nn.Identity(), (torch.rand(1),))
    assert set(NEEDS) <= {one.__name__ for one in XNNPACKPassManager(example).passes}


@pytest.mark.parametrize("fault", ["argument", "shape"])
def test_another_argument_or_shape_is_another_piece(fault: str) -> None:
    def piece(dim: int, width: int) -> Any:
        class Soft(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x.softmax(dim)

        return torch.export.export(Soft(), (torch.rand(4, width),))

    other = piece(1, 4) if fault == "argument" else piece(0, 5)
    assert content(piece(0, 4)) != content(other)
