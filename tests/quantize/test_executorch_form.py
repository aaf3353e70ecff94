"""An int8 program that ExecuTorch lowers, loads and runs computes what the program says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.tensors import Array
from minuet.export.quiet import quiet
from minuet.quantize import apply
from minuet.quantize.calibrate import calibrate
from tests.quantize.tiny import captured, clips, db, network, recipe


class Twice(nn.Module):
    """An answer that is read twice, once transposed, as a residual block reads its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        normed = F.layer_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2)
        y: Tensor = self.out(x + normed)
        return y


def run(program: torch.export.ExportedProgram, image: Tensor) -> Array:
    """What ExecuTorch makes of a program."""
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
        from executorch.runtime import Runtime

        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        file = Runtime.get().load_program(edge.to_executorch().buffer)
        made: Array = file.load_method("forward").execute([image])[0].clone().numpy()
    return made


def against(module: nn.Module, layers: dict[str, str]) -> tuple[float, float]:
    """How near ExecuTorch's int8 answer is to the float module and to the int8 program, in dB."""
    program, (image,) = captured(module)
    ranges = calibrate(program.module(), clips(4))
    asked = replace(recipe(), layers=layers)
    made = apply.quantize_program(program, (image,), asked, ranges, "executorch")
    found = run(made, image)
    return db(module(image).numpy(), found), db(made.module()(image).numpy(), found)


def twice() -> nn.Module:
    torch.manual_seed(0)
    return Twice().eval().requires_grad_(False)


@pytest.mark.slow
def test_the_tiny_network_computes_in_int8_what_its_program_says() -> None:
    to_float, to_program = against(network(), recipe().layers)
    assert 20 < to_float < 60 and to_program > 25


def test_an_answer_that_is_read_twice_comes_out_right() -> None:
    to_float, to_program = against(twice(), {"stem": "int8", "out": "int8"})
    assert 20 < to_float < 60 and to_program > 40


def test_without_the_rule_of_one_reader_it_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    careless: Any = replace(apply.FORMS["executorch"], one_reader=False)
    monkeypatch.setitem(apply.FORMS, "executorch", careless)
    try:
        to_float, _ = against(twice(), {"stem": "int8", "out": "int8"})
    except RuntimeError:
        return  # larger maps than these stop when they are run
    assert not np.isfinite(to_float) or to_float < 10, "executorch can: drop Form.one_reader"
