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
