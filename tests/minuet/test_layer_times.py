"""What each layer takes, on ONNX Runtime itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.capture import Program, capture
from minuet.layer_times import layer_times
from minuet.quantize.apply import quantize_program
from minuet.quantize.calibrate import calibrate
from tests.quantize.tiny import recipe

LAYERS = ("large", "small", "out")


class Uneven(nn.Module):
    """A convolution with thousands of times the work of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = nn.Conv2d(4, 192, 9, padding=4), nn.Conv2d(4, 1, 1)
        self.out = nn.Linear(193, 8)

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([torch.relu(self.large(x)), torch.sigmoid(self.small(x))], 1)
        made: Tensor = self.out(seen.mean((2, 3)))
        return made


@pytest.fixture(scope="module")
def programs() -> dict[str, Program]:
    torch.manual_seed(0)
    x = TensorSpec(name="x", axes="BCHW", shape=(1, 4, 64, 64), dtype="float32")
    y = TensorSpec(name="y", axes="BC", shape=(1, 8), dtype="float32")
    signature = Signature(inputs=(x,), outputs=(y,))
    example = {"x": np.random.default_rng(0).random((1, 4, 64, 64), np.float32)}
    made = capture(Uneven().eval().requires_grad_(False), example, signature)
    ranges = calibrate(made.exported.module(), [example])
    asked = replace(recipe(), layers=dict.fromkeys(LAYERS, "int8"))
    quantized = quantize_program(made.exported, made.inputs, asked, ranges, "onnx")
    return {"fp32": made, "int8": replace(made, exported=quantized)}


def test_every_layer_has_its_time_in_both_precisions(
    programs: dict[str, Program], tmp_path: Path
) -> None:
    example = {"x": np.random.default_rng(1).random((1, 4, 64, 64), np.float32)}
    found = layer_times(programs, LAYERS, example, threads=1)
    assert set(found) == {"fp32", "int8"}
    for times in found.values():
        assert set(times) == set(LAYERS)
        assert times["large"] > 5 * times["small"] > 0  # of thousands of times the work
        assert 0 < times["large"] < 1  # seconds
        assert times["out"] > 0
