"""A converted model -> the same model, its weights of few different numbers as codes and a table.

Nothing is rounded here: what a palette costs was decided when the weights were made. coremltools
offers the same as mode "unique", which asks numpy for a float16 weight's different numbers; where
numpy 2.3.5 sorts float16 with AVX-512 it finds some of them twice or more (16 became 28), and the
table is then a size too large. Their bits are sorted instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minuet.export.quiet import quiet

BITS = {16: (1, 2, 4, 6, 8), 17: (1, 2, 4, 6, 8), 18: (1, 2, 3, 4, 6, 8)}  # by iOS
NO_TABLE = 64  # bits: more than a number takes


def tabled(model: Any, ios: int) -> Any:
    """Every constant that is smaller with a table has one.

    Args:
        model: of coremltools, its program still at hand; float16.
        ios: the oldest that must open it: 3 bits came with 18.
    """
    with quiet():
        import coremltools.optimize as cto

    def table(weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        numbers, codes = np.unique(_words(weight), return_inverse=True)
        entries = np.zeros(1 << _bits(len(numbers), ios), numbers.dtype)
        entries[: len(numbers)] = numbers
        return entries.view(weight.dtype), codes.reshape(-1).astype(np.uint8)

    config = cto.coreml.OptimizationConfig()
    how = cto.coreml.OpPalettizerConfig(mode="custom", lut_function=table, weight_threshold=0)
    for function in model._mil_program.functions.values():
        for op in function.operations:
            if op.op_type == "const" and _pays(op.outputs[0].val, ios):
                config.set_op_name(op.name, how)
    with quiet():
        return cto.coreml.palettize_weights(model, config)


def _pays(value: Any, ios: int) -> bool:
    """Whether codes and table are fewer bytes than the numbers."""
    if not isinstance(value, np.ndarray) or value.ndim < 2:
        return False
    if value.dtype not in (np.float16, np.float32):
        return False
    bits = _bits(len(np.unique(_words(value))), ios)
    return value.size * bits / 8 + (value.itemsize << bits) < value.nbytes


def _bits(count: int, ios: int) -> int:
    """Of the smallest table that holds so many numbers; as many as no weight has, if none does."""
    return next((bits for bits in BITS[ios] if count <= 1 << bits), NO_TABLE)


def _words(value: NDArray[Any]) -> NDArray[Any]:
    """The bits of floating-point numbers as whole ones."""
    return np.ascontiguousarray(value).view(f"u{value.itemsize}").reshape(-1)
