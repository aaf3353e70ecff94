"""Function and inputs -> outputs: operation by operation in float32, each result rounded.

How a result is rounded is a choice:

    declared   to the type that the program declares: what the file says
    fp16       floating results and weights to float16 as well: the Neural Engine knows no other
    fp32       floating results not at all: what the weights alone have lost
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minuet.contracts.errors import NotEvaluatedError, RequestError
from minuet.runtimes.mil.operations import OPERATIONS, REFUSED
from minuet.runtimes.mil.package import Block, Operation
from minuet.runtimes.mil.tensors import TORCH, tensor
from minuet.runtimes.mil.values import Port

ROUNDINGS = ("declared", "fp16", "fp32")
CONTROL = ("const", "cond", "while_loop")
MAX_TURNS = 100_000  # of one loop

Watch = Callable[[Operation, Tensor], None]  # called with each result before it is rounded
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """How results are rounded, and who sees them before."""

    rounding: str = "declared"
    watch: Watch | None = None

    def __post_init__(self) -> None:
        if self.rounding not in ROUNDINGS:
            raise ValueError(f"rounding {self.rounding!r} is not one of {ROUNDINGS}")


def evaluate(
    function: Block, inputs: Mapping[str, Tensor], rules: Rules | None = None
) -> dict[str, Tensor]:
    """Run a function once; results by name.

    Raises:
        NotEvaluatedError: an operation is not known; named, with its place.
        RequestError: one cannot be computed, or gives another shape than is declared.
    """
    rules = rules or Rules()
    refuse_unknown(function)
    given = {one.name: _given(inputs[one.name], one, rules) for one in function.inputs}
    with torch.inference_mode():
        return dict(zip(function.outputs, _run(function, given, rules), strict=True))


def _given(value: Tensor, declared: Port, rules: Rules) -> Tensor:
    """An input; Core ML takes no scalars, so that they come as one element."""
    whole = value.reshape(1) if not value.dim() and declared.shape == (1,) else value
    return _rounded(whole, declared, rules)


def refuse_unknown(function: Block) -> None:
    """Name the operations that are not evaluated before the others are.

    Raises:
        NotEvaluatedError: for the first of them.
    """
    for op in function.walk():
        if op.kind not in OPERATIONS and op.kind not in CONTROL:
            reason = REFUSED.get(op.kind, "is not known to this evaluator")
            raise NotEvaluatedError(f"{op.name}: {op.kind!r} {reason}; not run.")


def _run(block: Block, values: Values, rules: Rules) -> list[Tensor]:
    """Results are dropped after their last use: memory holds what is needed, not all there was."""
    last = _last_uses(block)
    for place, op in enumerate(block.operations):
        for out, result in zip(op.outputs, _results(op, values, rules), strict=True):
            values[out.name] = result
        for name in last[place]:
            values.pop(name, None)
    return [tensor(values[name]) for name in block.outputs]


def _last_uses(block: Block) -> list[list[str]]:
    """For each operation, the block's own names that nothing needs after it."""
    own = {out.name for op in block.operations for out in op.outputs}
    own |= {one.name for one in block.inputs}
    last = {name: place for place, op in enumerate(block.operations) for name in _names(op)}
    found: list[list[str]] = [[] for _ in block.operations]
    for name, place in last.items():
        if name in own and name not in block.outputs:
            found[place].append(name)
    return found


def _names(op: Operation) -> set[str]:
    """Results that an operation, or a block inside it, speaks of."""
    several = [v if isinstance(v, tuple) else (v,) for v in op.arguments.values()]
    found = {one for values in several for one in values if isinstance(one, str)}
    for block in op.blocks:
        found |= set(block.outputs).union(*(_names(inner) for inner in block.operations))
    return found


def _results(op: Operation, values: Values, rules: Rules) -> list[Any]:
    arguments = {name: _value(one, values, rules) for name, one in op.arguments.items()}
    if op.kind == "const":
        return [arguments["val"]]
    try:
        found = _called(op, arguments, values, rules)
        if rules.watch:
            for result in found:
                rules.watch(op, result)
        return [_rounded(one, out, rules) for one, out in zip(found, op.outputs, strict=True)]
    except RequestError as error:
        raise RequestError(f"{op.name} ({op.kind}): {error}") from error
    except (ArithmeticError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise RequestError(f"{op.name} ({op.kind}) could not be evaluated: {reason}.") from error


def _called(op: Operation, arguments: Values, values: Values, rules: Rules) -> list[Tensor]:
    if op.kind == "cond":
        chosen = op.blocks[0 if bool(arguments["pred"]) else 1]
        return _run(chosen, dict(values), rules)
    if op.kind == "while_loop":
        return _looped(op, arguments, values, rules)
    found = OPERATIONS[op.kind](arguments)
    return found if isinstance(found, list) else [found]


def _looped(op: Operation, arguments: Values, values: Values, rules: Rules) -> list[Tensor]:
    going, body = op.blocks
    given = arguments["loop_vars"]
    state = [tensor(one) for one in (given if isinstance(given, list) else [given])]
    for _ in range(MAX_TURNS):
        names = [one.name for one in going.inputs]
        if not bool(_run(going, values | dict(zip(names, state, strict=True)), rules)[0]):
            return state
        names = [one.name for one in body.inputs]
        state = _run(body, values | dict(zip(names, state, strict=True)), rules)
    raise RequestError(f"a loop of more than {MAX_TURNS} turns is refused")


def _value(argument: Any, values: Values, rules: Rules) -> Any:
    if isinstance(argument, tuple):
        return [_value(one, values, rules) for one in argument]
    if isinstance(argument, str):
        return values[argument]
    found = argument.array()
    weights = isinstance(found, np.ndarray) and found.dtype == np.float32 and found.ndim > 0
    return found.astype(np.float16) if weights and rules.rounding == "fp16" else found


def _rounded(result: Tensor, out: Port, rules: Rules) -> Tensor:
    """A result in its declared type, its shape checked."""
    known = zip(result.shape, out.shape, strict=False)
    if result.dim() != len(out.shape) or any(m is not None and n != m for n, m in known):
        raise RequestError(f"{out.name} has shape {tuple(result.shape)}, declared is {out.shape}")
    kind = TORCH[out.type.name]
    if kind.is_floating_point and rules.rounding != "declared":
        kind = torch.float16 if rules.rounding == "fp16" else torch.float32
    return result.to(kind) & 0xFFFF if out.type.name == "uint16" else result.to(kind)
