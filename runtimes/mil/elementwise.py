"""ML Program operations that take elements one by one: arithmetic, logic, activations.

Names, defaults and semantics are those of coremltools 9.0 (converters/mil/mil/ops/defs).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.runtimes.mil.tensors import TORCH, Args, Handler, number, tensor


def unary(function: Callable[[Tensor], Tensor]) -> Handler:
    return lambda a: function(tensor(a["x"]))


def binary(function: Callable[[Any, Any], Any]) -> Handler:
    return lambda a: function(tensor(a["x"]), tensor(a["y"]))


def shifted(function: Callable[[Tensor], Tensor], default: float) -> Handler:
    """A function of x + epsilon."""
    return lambda a: function(tensor(a["x"]) + number(a, "epsilon", default))


def shaped(function: Callable[[Tensor, float, float], Tensor]) -> Handler:
    """An activation with one or two constants."""
    return lambda a: function(tensor(a["x"]), number(a, "alpha", 0), number(a, "beta", 0))


def by_channel(value: Any, like: Tensor) -> Tensor:
    """One value a channel, to be broadcast over axis 1."""
    return tensor(value).reshape(1, -1, *[1] * (like.dim() - 2))


def cast(a: Args) -> Tensor:
    return tensor(a["x"]).to(TORCH[str(a["dtype"])])


def select(a: Args) -> Tensor:
    return torch.where(tensor(a["cond"]).bool(), tensor(a["a"]), tensor(a["b"]))


def gelu(a: Args) -> Tensor:
    x, mode = tensor(a["x"]), str(a.get("mode", "EXACT"))
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def prelu(a: Args) -> Tensor:
    x = tensor(a["x"])
    return x.clamp(min=0) + x.clamp(max=0) * by_channel(a["alpha"], x)


def softplus_parametric(a: Args) -> Tensor:
    x = tensor(a["x"])
    return by_channel(a["alpha"], x) * softplus(x * by_channel(a["beta"], x))


def softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def clamped_relu(x: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.where(x >= 0, x, alpha * x).clamp(max=beta)


def floor_div(x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, y, rounding_mode="floor")


NAMED = (
    *("abs", "acos", "asin", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp", "exp2"),
    *("floor", "logical_not", "relu", "round", "sigmoid", "sign", "sin", "sinh", "sqrt"),
    *("square", "tan", "tanh"),
)

ELEMENTWISE: dict[str, Handler] = {
    **{name: unary(getattr(torch, name)) for name in NAMED},
    "add": binary(operator.add),
    "cast": cast,
    "clamped_relu": shaped(clamped_relu),
    "clip": shaped(torch.clamp),
    "elu": shaped(lambda x, alpha, _: F.elu(x, alpha)),
    "equal": binary(operator.eq),
    "floor_div": binary(floor_div),
    "gelu": gelu,
    "greater": binary(operator.gt),
    "greater_equal": binary(operator.ge),
    "identity": unary(lambda x: x),
    "inverse": shifted(torch.reciprocal, 1e-4),
    "leaky_relu": shaped(lambda x, alpha, _: F.leaky_relu(x, alpha)),
    "less": binary(operator.lt),
    "less_equal": binary(operator.le),
    "linear_activation": shaped(lambda x, alpha, beta: alpha * x + beta),
    "log": shifted(torch.log, 1e-45),
    "logical_and": binary(torch.logical_and),
    "logical_or": binary(torch.logical_or),
    "logical_xor": binary(torch.logical_xor),
    "maximum": binary(torch.maximum),
    "minimum": binary(torch.minimum),
    "mod": binary(torch.remainder),
    "mul": binary(operator.mul),
    "not_equal": binary(operator.ne),
    "pow": binary(operator.pow),
    "prelu": prelu,
    "real_div": binary(operator.truediv),
    "relu6": unary(F.relu6),
    "rsqrt": shifted(torch.rsqrt, 1e-12),
    "scaled_tanh": shaped(lambda x, alpha, beta: alpha * torch.tanh(beta * x)),
    "select": select,
    "sigmoid_hard": shaped(lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1)),
    "silu": unary(F.silu),
    "softplus": unary(softplus),
    "softplus_parametric": softplus_parametric,
    "softsign": unary(F.softsign),
    "sub": binary(operator.sub),
    "threshold": shaped(lambda x, alpha, _: x.clamp(min=alpha)),
    "thresholded_relu": shaped(lambda x, alpha, _: torch.where(x >= alpha, x, 0)),
}
