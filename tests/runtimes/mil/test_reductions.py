"""Reductions, order and norms of Core ML are what numpy says they are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from minuet.contracts.tensors import Array
from minuet.runtimes.mil.operations import OPERATIONS
from minuet.runtimes.mil.reductions import REDUCTIONS

RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 6, 4, 5)).astype(np.float32)
P = np.abs(X) + 0.1
C = RNG.standard_normal(6).astype(np.float32)
AXES = {"axes": np.array([1, -1], np.int32), "keep_dims": np.True_}
OVER: dict[str, Any] = {"axis": (1, 3), "keepdims": True}


def normed(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    centred = x - x.mean(axes, keepdims=True)
    found: Array = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps)
    return found


def channel(value: Array) -> Array:
    return value.reshape(1, -1, 1, 1)


def neighbours(x: Array, size: int) -> Array:
    """Mean square of the channels around each one, zeros beyond the last."""
    squares = np.pad(x * x, [(0, 0), (size // 2, (size - 1) // 2), (0, 0), (0, 0)])
    found: Array = np.stack([squares[:, i : i + x.shape[1]] for i in range(size)]).sum(0) / size
    return found


CASES: dict[str, tuple[dict[str, Any], Callable[[], Array]]] = {
    "argsort": ({"x": X, "axis": 1}, lambda: np.argsort(-X, 1)),
    "batch_norm": (
        {"x": X, "mean": C, "variance": C * C, "gamma": C + 1, "beta": C - 1, "epsilon": 1e-3},
        lambda: (X - channel(C)) / np.sqrt(channel(C * C) + 1e-3) * channel(C + 1) + channel(C - 1),
    ),
    "cumsum": ({"x": X, "axis": 2}, lambda: np.cumsum(X, 2)),
    "instance_norm": (
        {"x": X, "gamma": C, "beta": C, "epsilon": 1e-3},
        lambda: normed(X, (2, 3), 1e-3) * channel(C) + channel(C),
    ),
    "l2_norm": ({"x": X}, lambda: X / np.sqrt((X**2).sum((1, 2, 3), keepdims=True) + 1e-6)),
    "layer_norm": (
        {"x": X, "axes": [1], "gamma": C, "beta": C, "epsilon": 1e-3},
        lambda: normed(X, (1,), 1e-3) * channel(C) + channel(C),
    ),
    "local_response_norm": (
        {"x": X, "size": 3, "alpha": 0.5, "beta": 0.75, "k": 2.0},
        lambda: X / (2 + 0.5 * neighbours(X, 3)) ** 0.75,
    ),
    "reduce_argmax": ({"x": X, "axis": 1}, lambda: X.argmax(1)),
    "reduce_argmin": ({"x": X, "axis": 1, "keep_dims": True}, lambda: X.argmin(1)[:, None]),
    "reduce_l1_norm": ({"x": X, **AXES}, lambda: np.abs(X).sum(**OVER)),
    "reduce_l2_norm": ({"x": X, **AXES}, lambda: np.sqrt((X**2).sum(**OVER))),
    "reduce_log_sum": ({"x": P, **AXES}, lambda: np.log(P.sum(**OVER))),
    "reduce_log_sum_exp": ({"x": X, **AXES}, lambda: np.log(np.exp(X).sum(**OVER))),
    "reduce_max": ({"x": X, **AXES}, lambda: X.max(**OVER)),
    "reduce_mean": ({"x": X, **AXES}, lambda: X.mean(**OVER)),
    "reduce_min": ({"x": X, **AXES}, lambda: X.min(**OVER)),
    "reduce_prod": ({"x": X, **AXES}, lambda: X.prod(**OVER)),
    "reduce_sum": ({"x": X, **AXES}, lambda: X.sum(**OVER)),
    "reduce_sum_square": ({"x": X, **AXES}, lambda: (X**2).sum(**OVER)),
    "softmax": ({"x": X, "axis": 1}, lambda: np.exp(X) / np.exp(X).sum(1, keepdims=True)),
    "topk": (
        {"x": X, "k": 2, "axis": 1, "return_indices": False},
        lambda: -np.sort(-X, 1)[:, :2],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_is_its_formula(name: str) -> None:
    arguments, formula = CASES[name]
    found = OPERATIONS[name](arguments).numpy()
    np.testing.assert_allclose(found, formula(), rtol=1e-4, atol=1e-5)


def test_every_operation_of_this_kind_has_a_formula() -> None:
    assert set(CASES) == set(REDUCTIONS)


def test_without_axes_everything_is_reduced() -> None:
    np.testing.assert_allclose(OPERATIONS["reduce_sum"]({"x": X}).numpy(), X.sum(), rtol=1e-4)
    np.testing.assert_allclose(OPERATIONS["reduce_prod"]({"x": P[0, 0]}), P[0, 0].prod(), rtol=1e-4)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_running_sum_may_begin_at_nothing_and_at_the_end(exclusive: bool, reverse: bool) -> None:
    found = OPERATIONS["cumsum"](
        {"x": X, "axis": 1, "exclusive": np.bool_(exclusive), "reverse": np.bool_(reverse)}
    )
    expected = np.empty_like(X)
    for i in range(6):
        after, before = slice(i + exclusive, None), slice(0, i + 1 - exclusive)
        expected[:, i] = X[:, after if reverse else before].sum(1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_top_values_come_with_their_places() -> None:
    values, places = OPERATIONS["topk"]({"x": X, "k": 3, "axis": -1, "ascending": np.True_})
    np.testing.assert_array_equal(values.numpy(), np.sort(X, -1)[..., :3])
    np.testing.assert_array_equal(torch.from_numpy(X).gather(-1, places), values)


def test_a_norm_over_the_last_axes_is_torchs() -> None:
    weight = RNG.standard_normal((4, 5)).astype(np.float32)
    found = OPERATIONS["layer_norm"]({"x": X, "axes": [-2, -1], "gamma": weight})
    expected = torch.layer_norm(torch.from_numpy(X), [4, 5], torch.from_numpy(weight))
    torch.testing.assert_close(found, expected)
