"""A converted model -> the same model, its weights that are codes times scales stored as those.

Nothing is rounded here: a weight is taken apart where codes and scales give every number of it back
in the type that it has, and stays otherwise. Few different int8 codes become a table of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.codes import Coded, coded
from minuet.contracts.errors import RequestError
from minuet.export.quiet import quiet

CODED = ("int8-weights", "int4-weights", "palettes-int8")  # precisions
# iOS: int4, scales of blocks, tables of int8; and of activations in codes.
SINCE = dict.fromkeys(CODED, 18) | {"int8": 17}
TABLES = (1, 2, 3, 4, 6)  # bits of a table's indices; with 8 the codes themselves are as small


def check_codes(precision: str, ios: int) -> None:
    """Refuse a release without the operations of a precision.

    Raises:
        RequestError: which one has them.
    """
    if ios < (since := SINCE.get(precision, ios)):
        raise RequestError(f"{precision} needs iOS {since}, not {ios}; leave --ios out.")


def stored_in_codes(model: Any) -> Any:
    """Every constant that has codes becomes them, unpacked by Core ML when it loads or computes.

    Args:
        model: of coremltools, its program still at hand; for iOS 18.
    """
    with quiet():
        from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
        from coremltools.models.utils import _apply_graph_pass

        class InCodes(AbstractGraphPass):  # type: ignore[misc]
            def apply(self, prog: Any) -> None:
                for function in prog.functions.values():
                    _rewrite(function)

        return _apply_graph_pass(model, InCodes())


def _rewrite(block: Any) -> None:
    with block:
        for op in list(block.operations):
            if op.op_type == "const" and (found := codes_of(op.outputs[0].val)):
                made = _constexpr(op, found)
                block.replace_uses_of_var_after_op(
                    anchor_op=op, old_var=op.outputs[0], new_var=made, no_check_var_types=True
                )
                block.remove_ops([op])


def codes_of(value: Any) -> Coded | None:
    """The codes of a constant of floating point."""
    if isinstance(value, np.ndarray) and value.dtype in (np.float16, np.float32):
        return coded(value)
    return None


def _constexpr(op: Any, found: Coded) -> Any:
    """Scales times codes, of int4, int8, or a table's int8."""
    from coremltools.converters.mil import Builder

    value = op.outputs[0].val
    return Builder.constexpr_blockwise_shift_scale(
        data=_data(op, found),
        scale=found.scales.astype(value.dtype),
        before_op=op,
        name=f"{op.name}_codes",
    )


def _data(op: Any, found: Coded) -> Any:
    from coremltools.converters.mil import Builder

    if found.bits == 4:
        return _narrow(found.codes, "int4")
    colours, indices = np.unique(found.codes, return_inverse=True)
    bits = next((bits for bits in TABLES if len(colours) <= 1 << bits), 8)
    if bits == 8 or found.codes.size * bits / 8 + (1 << bits) >= found.codes.size:
        return np.ascontiguousarray(found.codes)
    table = np.zeros(1 << bits, np.int8)
    table[: len(colours)] = colours
    return Builder.constexpr_lut_to_dense(
        indices=_narrow(indices.reshape(found.codes.shape), f"uint{bits}"),
        lut=table.reshape(*[1] * found.codes.ndim, -1, 1),
        before_op=op,
        name=f"{op.name}_table",
    )


def _narrow(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Values in coremltools' own type of less than a byte."""
    from coremltools.converters.mil.mil import types

    kind = types.nptype_from_builtin(types.string_to_builtin(name))
    return np.ascontiguousarray(values).astype(kind)
