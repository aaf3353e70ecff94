"""How noisy a reference is itself: rounding shows, and nothing that an artifact does."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.benchmarks.parity_own import own_noise
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.capture import Program, capture

SIGMA = 700.0
X = {"x": np.random.default_rng(0).standard_normal((1, 4096)).astype(np.float32)}


class Lost(nn.Module):
    """What is small is added to what is large, which is taken away again: float32 keeps little."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + SIGMA * torch.cos(x)) - SIGMA * torch.cos(x)


@pytest.fixture(scope="module")
def program() -> Program:
    x, y = (TensorSpec(name=k, axes="BC", shape=(1, 4096), dtype="float32") for k in "xy")
    return capture(Lost(), X, Signature(inputs=(x,), outputs=(y,)))


def noise(program: Program, reference: np.ndarray) -> float:
    return own_noise(program.exported, program.signature, X, {"y": reference})["y"].db


def test_what_sigma_takes_away_is_its_own_noise(program: Program) -> None:
    made = Lost()(torch.from_numpy(X["x"])).numpy()
    # Rounded to the step of the large sum, each value is off by an even draw of half a step.
    steps = np.spacing(np.abs(X["x"] + np.float32(SIGMA) * np.cos(X["x"]))).astype(np.float64)
    expected = 10 * np.log10(np.square(X["x"]).sum() / (np.square(steps).sum() / 12))
    assert noise(program, made) == pytest.approx(expected, abs=1)


def test_a_reference_that_is_the_truth_has_none(program: Program) -> None:
    assert noise(program, X["x"]) > 130


def test_in_fewer_bits_the_program_speaks_not_the_reference() -> None:
    """numpy's float16 is the judge: x + 1 - 1 loses what is below a step of 2^-10."""

    class Shifted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x + 1) - 1

    given = {"x": np.random.default_rng(1).uniform(0.1, 0.9, (1, 4096)).astype(np.float32)}
    x, y = (TensorSpec(name=k, axes="BC", shape=(1, 4096), dtype="float32") for k in "xy")
    program = capture(Shifted(), given, Signature(inputs=(x,), outputs=(y,)))
    found = (given["x"].astype(np.float16) + np.float16(1)) - np.float16(1)
    error = found.astype(np.float64) - given["x"]
    expected = 10 * np.log10(np.square(given["x"]).sum() / np.square(error).sum())
    for reference in (given["x"], 2 * given["x"]):
        rows = own_noise(program.exported, program.signature, given, {"y": reference}, "fp16")
        assert rows["y"].db == pytest.approx(expected, abs=0.01)
