"""Core ML's operations that only move elements put each one where numpy would."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Array
from minuet.runtimes.mil.operations import OPERATIONS
from minuet.runtimes.mil.shapes import SHAPES

X = np.arange(2 * 4 * 6 * 4, dtype=np.float32).reshape(2, 4, 6, 4)
ROW = np.arange(5, dtype=np.float32)

CASES: dict[str, tuple[dict[str, Any], Callable[[], Array]]] = {
    "band_part": ({"x": X, "lower": 1, "upper": 0}, lambda: np.tril(X) - np.tril(X, -2)),
    "batch_to_space": (
        {"x": X, "block_shape": [2, 1], "crops": [[1, 2], [0, 1]]},
        lambda: np.stack([X[0], X[1]], 2).reshape(1, 4, 12, 4)[:, :, 1:-2, :-1],
    ),
    "concat": ({"values": [X, X + 1], "axis": 1}, lambda: np.concatenate([X, X + 1], 1)),
    "depth_to_space": (
        {"x": X, "block_size": 2},
        lambda: by_block(X, 2),
    ),
    "expand_dims": ({"x": ROW, "axes": [0, -1]}, lambda: ROW[None, :, None]),
    "fill": ({"shape": [2, 3], "value": np.float32(7)}, lambda: np.full((2, 3), 7.0)),
    "fill_like": ({"ref_tensor": X, "value": np.float32(7)}, lambda: np.full_like(X, 7)),
    "flatten2d": ({"x": X, "axis": 2}, lambda: X.reshape(8, 24)),
    "one_hot": (
        {"indices": np.array([2, 0]), "one_hot_vector_size": 3, "axis": 0, "on_value": 5.0},
        lambda: 5 * np.eye(3)[[2, 0]].T,
    ),
    "pad": (
        {"x": X, "pad": [1, 0, 2, 3], "constant_val": np.float32(9)},
        lambda: np.pad(X, [(0, 0), (0, 0), (1, 0), (2, 3)], constant_values=9),
    ),
    "pixel_shuffle": (
        {"x": X, "upscale_factor": 2},
        lambda: X.reshape(2, 1, 2, 2, 6, 4).transpose(0, 1, 4, 2, 5, 3).reshape(2, 1, 12, 8),
    ),
    "pixel_unshuffle": (
        {"x": X, "downscale_factor": 2},
        lambda: X.reshape(2, 4, 3, 2, 2, 2).transpose(0, 1, 3, 5, 2, 4).reshape(2, 16, 3, 2),
    ),
    "range_1d": (
        {"start": np.float32(1), "end": np.float32(2), "step": np.float32(0.3)},
        lambda: np.arange(1, 2, 0.3),
    ),
    "reshape": ({"x": X, "shape": [0, -1, 8]}, lambda: X.reshape(2, 12, 8)),
    "reshape_like": (
        {
            "x": np.arange(4 * 6 * 4 * 24),
            "ref_tensors": [X, X.reshape(8, 24)],
            "begins": [1, 1],
            "ends": [2, 2],
            "end_masks": [True, False],
        },
        lambda: np.arange(4 * 6 * 4 * 24).reshape(4, 6, 4, 24),
    ),
    "reverse": ({"x": X, "axes": [1, -1]}, lambda: X[:, ::-1, :, ::-1]),
    "reverse_sequence": (
        {"x": X, "lengths": [3, 1], "seq_axis": 1, "batch_axis": 0},
        lambda: np.stack([X[0][[2, 1, 0, 3]], X[1]]),
    ),
    "shape": ({"x": X}, lambda: np.array(X.shape)),
    "slice_by_index": (
        {"x": ROW, "begin": [1], "end": [-1], "stride": [2]},
        lambda: ROW[1:-1:2],
    ),
    "slice_by_size": ({"x": ROW, "begin": [-3], "size": [2]}, lambda: ROW[2:4]),
    "slice_update": (
        {"x": ROW, "update": np.array([7.0, 8], np.float32), "begin": [1], "end": [3]},
        lambda: np.array([0, 7, 8, 3, 4]),
    ),
    "sliding_windows": (
        {"x": X, "axis": 2, "size": 3, "stride": 2},
        lambda: np.stack([X[:, :, i : i + 3] for i in (0, 2)], 2),
    ),
    "space_to_batch": (
        {"x": X, "block_shape": [2, 1], "paddings": [[1, 1], [0, 0]]},
        lambda: np.concatenate(
            [np.pad(X, [(0, 0), (0, 0), (1, 1), (0, 0)])[:, :, i::2] for i in (0, 1)]
        ),
    ),
    "space_to_depth": (
        {"x": X, "block_size": 2},
        lambda: np.concatenate([X[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1),
    ),
    "split": ({"x": ROW, "split_sizes": [5], "axis": 0}, lambda: ROW[None]),
    "squeeze": ({"x": X[:1, :1], "axes": [0, 1, 2]}, lambda: X[0, 0]),
    "stack": ({"values": [ROW, -ROW], "axis": -1}, lambda: np.stack([ROW, -ROW], -1)),
    "tile": ({"x": ROW, "reps": [2]}, lambda: np.tile(ROW, 2)),
    "transpose": ({"x": X, "perm": [3, -4, 1, 2]}, lambda: X.transpose(3, 0, 1, 2)),
}


def by_block(x: Array, s: int) -> Array:
    """Channel (i s + j) gives the pixels at row i and column j of each block."""
    n, c, h, w = x.shape
    found = np.zeros((n, c // s**2, h * s, w * s), x.dtype)
    for i in range(s):
        for j in range(s):
            start = (i * s + j) * (c // s**2)
            found[:, :, i::s, j::s] = x[:, start : start + c // s**2]
    return found


@pytest.mark.parametrize("name", CASES)
def test_an_operation_moves_elements_as_numpy_does(name: str) -> None:
    arguments, formula = CASES[name]
    found = OPERATIONS[name](arguments)
    found = torch.stack(found) if isinstance(found, list) else found
    np.testing.assert_allclose(found.numpy(), formula(), rtol=1e-6)


def test_every_operation_of_this_kind_has_a_formula() -> None:
    assert set(CASES) == set(SHAPES)


def test_a_slice_may_run_backwards_and_drop_axes() -> None:
    backwards = {"x": ROW, "begin": [4], "end": [0], "stride": [-2], "end_mask": [True]}
    assert OPERATIONS["slice_by_index"](backwards).tolist() == [4, 2, 0]
    masks = {"begin_mask": [False, True, False, False], "end_mask": [False, True, False, False]}
    squeezed = {"squeeze_mask": [True, False, False, True]}
    part = {"x": X, "begin": [1, 9, 2, -1], "end": [0, 9, 4, 0], **masks, **squeezed}
    np.testing.assert_array_equal(OPERATIONS["slice_by_index"](part).numpy(), X[1, :, 2:4, -1])


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_padding_repeats_the_picture_on_any_axis(mode: str) -> None:
    pairs = [(1, 1), (0, 0), (2, 1), (0, 3)]
    found = OPERATIONS["pad"]({"x": X, "pad": np.array(pairs).reshape(-1), "mode": mode})
    how = {"reflect": "reflect", "replicate": "edge"}[mode]
    np.testing.assert_array_equal(found.numpy(), np.pad(X, pairs, mode=how))  # type: ignore[call-overload]


def test_parts_may_interleave() -> None:
    found = OPERATIONS["concat"]({"values": [ROW, -ROW], "axis": 0, "interleave": np.True_})
    assert found.tolist()[:4] == [0, 0, 1, -1]


def test_parts_may_be_even() -> None:
    parts = OPERATIONS["split"]({"x": X, "num_splits": 3, "axis": 2})
    assert [tuple(part.shape) for part in parts] == [(2, 4, 2, 4)] * 3


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fill", {"shape": [1 << 20, 1 << 20]}),
        ("tile", {"x": ROW, "reps": [1 << 40]}),
        ("range_1d", {"start": 0, "end": 1 << 50, "step": 1}),
        ("one_hot", {"indices": np.zeros(9, np.int32), "one_hot_vector_size": 1 << 40}),
        ("pad", {"x": ROW, "pad": [0, 1 << 40]}),
        ("fill", {"shape": [-1, 3]}),
    ],
)
def test_a_tensor_beyond_all_bounds_is_refused_before_it_is_made(
    name: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(RequestError, match="refused"):
        OPERATIONS[name](arguments)


def test_a_part_is_replaced_whatever_the_order_in_memory() -> None:
    turned = torch.from_numpy(X).permute(3, 0, 2, 1)
    update = torch.ones(4, 1, 6, 4)
    part = {"x": turned, "update": update, "begin": [0, 1, 0, 0], "end": [4, 2, 6, 4]}
    expected = turned.numpy().copy()
    expected[:, 1:2] = 1
    np.testing.assert_array_equal(OPERATIONS["slice_update"](part).numpy(), expected)
    assert turned.numpy().max() > 1  # the argument is left as it was


def test_scalars_are_put_together_to_a_vector() -> None:
    sizes = [np.int32(1), np.int32(4), np.int32(24)]
    found = OPERATIONS["concat"]({"values": sizes, "axis": 0, "interleave": np.False_})
    np.testing.assert_array_equal(found, [1, 4, 24])
