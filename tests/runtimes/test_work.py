"""Work from shapes, against formulas by hand and against torch's own counter of operations."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from minuet.contracts.artifact import Artifact
from minuet.contracts.report import Operator
from minuet.contracts.runtime import Watcher
from minuet.contracts.tensors import Arrays, Signature, TensorSpec
from minuet.export.capture import capture
from minuet.export.to_onnx import export_onnx
from minuet.runtimes.openvino import OpenVinoRuntime
from minuet.runtimes.ort import OrtRuntime
from minuet.runtimes.work import Held, moved_bytes, multiply_accumulates

WATCHERS: dict[str, Watcher] = {"ort": OrtRuntime(), "openvino": OpenVinoRuntime()}
SIDE, WIDTH = 8, 20  # channels that are no multiple of a vector, so that runtimes pad them


@pytest.mark.parametrize(
    ("kind", "inputs", "output", "weight", "expected"),
    [
        ("Conv", [(2, 8, 9, 9)], (2, 6, 9, 9), (6, 8, 3, 3), 2 * 81 * 6 * 8 * 9),
        ("Conv", [(1, 8, 9, 9)], (1, 8, 9, 9), (8, 1, 3, 3), 81 * 8 * 9),  # one group a channel
        ("Conv", [(1, 8, 9, 9)], (1, 16, 9, 9), (6, 8, 3, 3), 81 * 6 * 8 * 9),  # padded to 16
        ("QLinearConv", [(1, 9, 9, 8)], (1, 9, 9, 6), (6, 8, 3, 3), 81 * 6 * 8 * 9),
        ("Convolution", [(1, 8, 5)], (1, 6, 5), (6, 8, 3), 5 * 6 * 8 * 3),
        ("ConvTranspose", [(1, 8, 5, 5)], (1, 6, 10, 10), (8, 6, 4, 4), 25 * 8 * 6 * 16),
        ("MatMul", [(3, 4, 5), (5, 7)], (3, 4, 7), None, 3 * 4 * 5 * 7),
        ("MatMul", [(4, 5), (3, 5, 7)], (3, 4, 7), None, 3 * 4 * 5 * 7),  # broadcast
        (
            "Gemm",
            [(5, 4)],
            (4, 7),
            (5, 7),
            4 * 5 * 7,
        ),  # its first factor transposed, its second packed
        ("FusedMatMul", [(4, 3, 5), (3, 5, 7)], (3, 4, 7), None, 3 * 4 * 5 * 7),  # batch in between
        ("MatMul", [(5,), (5, 7)], (7,), None, 35),
        ("MatMul", [(0, 5), (5, 7)], (0, 7), None, 0),
        (
            *("ScaledDotProductAttention", [(2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 6)]),
            *((2, 3, 4, 6), None, 2 * 3 * 4 * 5 * (8 + 6)),
        ),
        ("MultiHeadAttention", [(2, 4, 8), (2, 5, 8), (2, 5, 6)], (2, 4, 6), None, 2 * 20 * 14),
        ("Softmax", [(2, 4, 8)], (2, 4, 8), None, 0),
        ("GridSample", [(1, 4, 8, 8), (1, 8, 8, 2)], (1, 4, 8, 8), None, 0),
        ("Conv", [(1, 8, 9, 9)], (1, 6, 9, 9), None, None),  # nobody knows its weight
        ("Einsum", [(2, 3), (3, 4)], (2, 4), None, None),
        ("LSTM", [(5, 1, 8)], (5, 1, 1, 8), None, None),
    ],
)
def test_macs_follow_from_shapes(
    kind: str,
    inputs: list[tuple[int, ...]],
    output: tuple[int, ...],
    weight: tuple[int, ...] | None,
    expected: float | None,
) -> None:
    assert multiply_accumulates(kind, inputs, [output], weight) == expected


def test_bytes_are_counted_once_and_by_width() -> None:
    frame, picked, at = Held((8, 4, 4), 4.0), Held((2, 4, 4), 4.0), Held((2,), 8.0)
    assert moved_bytes("Add", [frame, frame], [frame]) == 3 * 128 * 4
    assert moved_bytes("Gather", [frame, at], [picked]) == 2 * 32 * 4 + 16, "it reads what it takes"
    assert moved_bytes("Reshape", [frame], [frame]) == 0
    assert moved_bytes("MatMulNBits", [frame, Held((64, 64), 0.5)], []) == 512 + 2048


class Mixed(nn.Module):
    """A convolution of every sort, products of every sort, and what is none."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.each = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.grouped = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=4)
        self.up = nn.ConvTranspose2d(WIDTH, 12, 4, stride=2, padding=1)
        self.norm = nn.LayerNorm(12)
        self.mix = nn.Linear(12, 24)

    def forward(self, x: Tensor) -> Tensor:
        y = self.grouped(F.silu(self.each(F.silu(self.whole(x)))))
        rows = self.norm(self.up(y).flatten(2).transpose(1, 2))
        a, b = self.mix(rows).chunk(2, -1)
        weights = torch.bmm(a, b.transpose(1, 2)).softmax(-1)
        found: Tensor = torch.bmm(weights, rows)
        return found


SPEC = TensorSpec(name="x", axes="BCHW", shape=(2, 3, SIDE, SIDE), dtype="float32")
OUT = TensorSpec(name="y", axes="BLD", shape=(2, 4 * SIDE**2, 12), dtype="float32")
SIGNATURE = Signature(inputs=(SPEC,), outputs=(OUT,))
INPUTS: Arrays = {"x": np.ones(SPEC.shape, np.float32)}


@pytest.fixture(scope="module")
def counted() -> int:
    """Multiply-accumulates as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        Mixed()(torch.ones(SPEC.shape))
    return int(counter.get_total_flops()) // 2


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("mixed")
    return folder, export_onnx(capture(Mixed(), INPUTS, SIGNATURE), folder)


def operators(name: str, exported: tuple[Path, Artifact]) -> tuple[Operator, ...]:
    found = WATCHERS[name].stages(*exported, SIGNATURE, INPUTS, runs=2, threads=1)
    return found.operators


@pytest.mark.parametrize("name", WATCHERS)
def test_what_a_runtime_runs_has_the_work_that_torch_counts(
    name: str, exported: tuple[Path, Artifact], counted: int
) -> None:
    found = operators(name, exported)
    assert all(one.macs is not None and one.moved_bytes is not None for one in found)
    assert sum(one.macs or 0 for one in found) == counted


@pytest.mark.parametrize("name", WATCHERS)
def test_the_bytes_of_a_convolution_are_its_input_weight_bias_and_output(
    name: str, exported: tuple[Path, Artifact]
) -> None:
    (conv,) = (
        one
        for one in operators(name, exported)
        if one.macs == math.prod((2, SIDE, SIDE, 3, WIDTH, 9))
    )
    padded = (WIDTH + 15) // 16 * 16  # ONNX Runtime's blocks of channels
    sizes = [2 * SIDE**2 * (3 + wide) + wide * 3 * 9 + wide for wide in (WIDTH, padded)]
    assert conv.moved_bytes in [4 * size for size in sizes]
    assert conv.dtype == "fp32" and conv.kind in ("Conv", "Convolution")
