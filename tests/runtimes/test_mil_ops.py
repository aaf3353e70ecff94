"""Core ML's operations mean what Core ML says, by hand-worked numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.runtimes.mil import evaluate
from minuet.runtimes.mil_ops import OPERATIONS, declared

X = torch.arange(6, dtype=torch.float32).reshape(2, 3)


CASES = {
    "slice_by_index": (
        {"x": X, "begin": [0, 1], "end": [2, 3], "end_mask": [True, False]},
        [[1, 2], [4, 5]],
    ),
    "slice_by_size": ({"x": X, "begin": [1, 1], "size": [1, -1]}, [[4, 5]]),
    "expand_dims": ({"x": X[0], "axes": [0, 2]}, [[[0], [1], [2]]]),
    "reduce_sum": ({"x": X, "axes": [1], "keep_dims": np.True_}, [[3], [12]]),
    "gather": (
        {"x": X, "indices": np.array([2, 0], np.int32), "axis": np.int32(1)},
        [[2, 0], [5, 3]],
    ),
    "matmul": ({"x": X, "y": X, "transpose_y": np.True_}, [[5, 14], [14, 50]]),
    "tile": ({"x": X[:1], "reps": [2, 1]}, [[0, 1, 2], [0, 1, 2]]),
    "constexpr_blockwise_shift_scale": (
        {"data": np.array([[1, 2], [3, 4]], np.int8), "scale": np.array([[0.5], [2]], np.float16)},
        [[0.5, 1], [6, 8]],
    ),
    "constexpr_lut_to_dense": (
        {
            "indices": np.array([[0, 1], [1, 0]], np.uint8),
            "lut": np.array([[[[10], [20]]], [[[30], [40]]]], np.float16),
        },
        [[10, 20], [40, 30]],
    ),
    "fill_like": ({"ref_tensor": X, "value": np.float32(7)}, [[7, 7, 7], [7, 7, 7]]),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_gives_the_numbers_worked_by_hand(name: str) -> None:
    arguments, expected = CASES[name]
    found = OPERATIONS[name](arguments)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_a_result_is_rounded_to_its_declared_type_and_shape() -> None:
    half = type("fp16", (), {})
    out = SimpleNamespace(name="y", shape=(1,), dtype=half)
    assert declared(torch.tensor([2049.0]), out).item() == 2048  # 11 significant bits
    with pytest.raises(ValueError, match="y: shape"):
        declared(torch.zeros(2), out)


def test_an_unknown_operation_is_refused_by_name() -> None:
    op = SimpleNamespace(op_type="lstm", inputs={}, outputs=[])
    with pytest.raises(RequestError, match="does not know 'lstm'"):
        evaluate(SimpleNamespace(operations=[op], outputs=[]), {})
