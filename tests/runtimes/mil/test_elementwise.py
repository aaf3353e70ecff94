"""Element-wise operations of Core ML are what numpy says they are."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from minuet.contracts.tensors import Array
from minuet.runtimes.mil.elementwise import ELEMENTWISE
from minuet.runtimes.mil.operations import OPERATIONS

X = np.linspace(-3, 3, 24, dtype=np.float32).reshape(2, 3, 4)
INSIDE = X / 4  # where acos and atanh live
POSITIVE = X + 3.5
TWO = np.array([0.5, 2.0, -1.0], np.float32)  # one a channel


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def channel(value: Array) -> Array:
    return value.reshape(1, 3, 1)


erf = np.vectorize(math.erf)

# Name -> (arguments, the same in numpy).
CASES: dict[str, tuple[dict[str, Any], Callable[[], Array]]] = {
    "abs": ({"x": X}, lambda: np.abs(X)),
    "acos": ({"x": INSIDE}, lambda: np.arccos(INSIDE)),
    "asin": ({"x": INSIDE}, lambda: np.arcsin(INSIDE)),
    "atan": ({"x": X}, lambda: np.arctan(X)),
    "atanh": ({"x": INSIDE}, lambda: np.arctanh(INSIDE)),
    "ceil": ({"x": X}, lambda: np.ceil(X)),
    "cos": ({"x": X}, lambda: np.cos(X)),
    "cosh": ({"x": X}, lambda: np.cosh(X)),
    "erf": ({"x": X}, lambda: erf(X)),
    "exp": ({"x": X}, lambda: np.exp(X)),
    "exp2": ({"x": X}, lambda: 2**X),
    "floor": ({"x": X}, lambda: np.floor(X)),
    "relu": ({"x": X}, lambda: np.maximum(X, 0)),
    "round": ({"x": np.array([0.5, 1.5, -2.5, 2.6])}, lambda: np.array([0.0, 2, -2, 3])),
    "sigmoid": ({"x": X}, lambda: sigmoid(X)),
    "sign": ({"x": X}, lambda: np.sign(X)),
    "sin": ({"x": X}, lambda: np.sin(X)),
    "sinh": ({"x": X}, lambda: np.sinh(X)),
    "sqrt": ({"x": POSITIVE}, lambda: np.sqrt(POSITIVE)),
    "square": ({"x": X}, lambda: X * X),
    "tan": ({"x": X}, lambda: np.tan(X)),
    "tanh": ({"x": X}, lambda: np.tanh(X)),
    "identity": ({"x": X}, lambda: X),
    "logical_not": ({"x": X > 0}, lambda: X <= 0),
    "add": ({"x": X, "y": POSITIVE}, lambda: X + POSITIVE),
    "sub": ({"x": X, "y": np.float32(2)}, lambda: X - 2),
    "mul": ({"x": X, "y": X[:1]}, lambda: X * X[:1]),
    "real_div": ({"x": X, "y": POSITIVE}, lambda: X / POSITIVE),
    "floor_div": ({"x": X, "y": np.float32(2)}, lambda: X // 2),
    "mod": ({"x": X, "y": np.float32(2)}, lambda: X - 2 * np.floor(X / 2)),
    "pow": ({"x": POSITIVE, "y": np.float32(1.5)}, lambda: POSITIVE**1.5),
    "maximum": ({"x": X, "y": -X}, lambda: np.abs(X)),
    "minimum": ({"x": X, "y": -X}, lambda: -np.abs(X)),
    "equal": ({"x": X, "y": X}, lambda: np.ones_like(X, bool)),
    "not_equal": ({"x": X, "y": X}, lambda: np.zeros_like(X, bool)),
    "greater": ({"x": X, "y": np.float32(1)}, lambda: X > 1),
    "greater_equal": ({"x": X, "y": X}, lambda: np.ones_like(X, bool)),
    "less": ({"x": X, "y": np.float32(1)}, lambda: X < 1),
    "less_equal": ({"x": X, "y": X}, lambda: np.ones_like(X, bool)),
    "logical_and": ({"x": X > 0, "y": X < 1}, lambda: (X > 0) & (X < 1)),
    "logical_or": ({"x": X > 1, "y": X < 0}, lambda: (X > 1) | (X < 0)),
    "logical_xor": ({"x": X > 0, "y": X > 1}, lambda: (X > 0) ^ (X > 1)),
    "select": ({"cond": X > 0, "a": X, "b": -X}, lambda: np.abs(X)),
    "cast": ({"x": X, "dtype": "int32"}, lambda: np.trunc(X).astype(np.int32)),
    "clip": ({"x": X, "alpha": np.float32(-1), "beta": np.float32(2)}, lambda: X.clip(-1, 2)),
    "threshold": ({"x": X, "alpha": np.float32(1)}, lambda: np.maximum(X, 1)),
    "thresholded_relu": ({"x": X, "alpha": np.float32(1)}, lambda: np.where(X >= 1, X, 0)),
    "relu6": ({"x": 3 * X}, lambda: (3 * X).clip(0, 6)),
    "clamped_relu": (
        {"x": X, "alpha": np.float32(0.1), "beta": np.float32(2)},
        lambda: np.minimum(np.where(X >= 0, X, 0.1 * X), 2),
    ),
    "leaky_relu": ({"x": X, "alpha": np.float32(0.1)}, lambda: np.where(X > 0, X, 0.1 * X)),
    "elu": ({"x": X, "alpha": np.float32(0.5)}, lambda: np.where(X > 0, X, 0.5 * np.expm1(X))),
    "linear_activation": (
        {"x": X, "alpha": np.float32(2), "beta": np.float32(3)},
        lambda: 2 * X + 3,
    ),
    "scaled_tanh": (
        {"x": X, "alpha": np.float32(2), "beta": np.float32(3)},
        lambda: 2 * np.tanh(3 * X),
    ),
    "sigmoid_hard": (
        {"x": X, "alpha": np.float32(0.2), "beta": np.float32(0.5)},
        lambda: (0.2 * X + 0.5).clip(0, 1),
    ),
    "silu": ({"x": X}, lambda: X * sigmoid(X)),
    "softplus": ({"x": 30 * X}, lambda: np.log1p(np.exp(-np.abs(30 * X))) + (30 * X).clip(0)),
    "softsign": ({"x": X}, lambda: X / (1 + np.abs(X))),
    "prelu": ({"x": X, "alpha": TWO}, lambda: np.where(X > 0, X, X * channel(TWO))),
    "softplus_parametric": (
        {"x": X, "alpha": TWO, "beta": -TWO},
        lambda: channel(TWO) * np.log1p(np.exp(-channel(TWO) * X)),
    ),
    "inverse": ({"x": POSITIVE}, lambda: 1 / (POSITIVE + 1e-4)),
    "log": ({"x": POSITIVE}, lambda: np.log(POSITIVE)),
    "rsqrt": ({"x": POSITIVE}, lambda: 1 / np.sqrt(POSITIVE)),
    "gelu": ({"x": X, "mode": "EXACT"}, lambda: X * 0.5 * (1 + erf(X / math.sqrt(2)))),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_is_its_formula(name: str) -> None:
    arguments, formula = CASES[name]
    found = OPERATIONS[name](arguments).numpy()
    np.testing.assert_allclose(found, formula(), rtol=2e-5, atol=2e-6)


def test_every_operation_of_this_kind_has_a_formula() -> None:
    assert set(CASES) == set(ELEMENTWISE)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("inverse", lambda x, e: 1 / (x + e)),
        ("log", lambda x, e: np.log(x + e)),
        ("rsqrt", lambda x, e: 1 / np.sqrt(x + e)),
    ],
)
def test_epsilon_is_added_to_what_is_inverted_or_logged(
    name: str, formula: Callable[[Array, float], Array]
) -> None:
    found = OPERATIONS[name]({"x": POSITIVE, "epsilon": np.float32(0.25)}).numpy()
    np.testing.assert_allclose(found, formula(POSITIVE, 0.25), rtol=1e-5)


def test_gelu_has_two_approximations() -> None:
    tanh = 0.5 * X * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3)))
    found = OPERATIONS["gelu"]({"x": X, "mode": "TANH_APPROXIMATION"})
    np.testing.assert_allclose(found.numpy(), tanh, atol=1e-6)
    found = OPERATIONS["gelu"]({"x": X, "mode": "SIGMOID_APPROXIMATION"})
    np.testing.assert_allclose(found.numpy(), X * sigmoid(1.702 * X), atol=1e-6)


def test_integers_stay_integers() -> None:
    x, y = np.array([7, -7], np.int32), np.array([2, 2], np.int32)
    assert OPERATIONS["floor_div"]({"x": x, "y": y}).tolist() == [3, -4]
    assert OPERATIONS["mod"]({"x": x, "y": y}).tolist() == [1, 1]
    assert OPERATIONS["mul"]({"x": x, "y": y}).dtype == torch.int32
