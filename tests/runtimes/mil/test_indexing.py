"""Core ML's gathers and scatters, against loops over every index."""

import itertools
from typing import Any

import numpy as np
import pytest

from minuet.contracts.tensors import Array
from minuet.runtimes.mil.operations import OPERATIONS

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 3, 4)).astype(np.float32)
MODES: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "update": lambda old, new: new,
}


def test_gather_takes_whole_slices_in_any_shape_of_indices() -> None:
    index = np.array([[2, 0], [-1, 1]], np.int32)
    found = OPERATIONS["gather"]({"x": X, "indices": index, "axis": 1})
    np.testing.assert_array_equal(found.numpy(), X[:, index])
    scalar = OPERATIONS["gather"]({"x": X, "indices": np.int32(1), "axis": -1})
    np.testing.assert_array_equal(scalar.numpy(), X[..., 1])


def test_gather_takes_one_size_out_of_a_shape() -> None:
    """A scalar of a vector, as a program with free sizes does."""
    found = OPERATIONS["gather"]({"x": np.array([1, 4, 24], np.int32), "indices": np.int32(2)})
    assert found.shape == () and int(found) == 24


def test_gather_may_share_its_first_axes_with_the_indices() -> None:
    index = np.array([[3, 0], [1, 1]], np.int32)
    found = OPERATIONS["gather"]({"x": X, "indices": index, "axis": 2, "batch_dims": 1})
    expected = np.stack([X[b][:, index[b]] for b in range(2)])
    np.testing.assert_array_equal(found.numpy(), expected)


def test_gather_along_an_axis_picks_one_element_a_place() -> None:
    index = RNG.integers(-3, 3, (2, 5, 4)).astype(np.int32)
    found = OPERATIONS["gather_along_axis"]({"x": X, "indices": index, "axis": 1})
    np.testing.assert_array_equal(found.numpy(), np.take_along_axis(X, index.astype(int) % 3, 1))


def test_gather_nd_takes_what_lies_at_coordinates() -> None:
    index = np.array([[1, 2], [0, -1]], np.int32)
    found = OPERATIONS["gather_nd"]({"x": X, "indices": index})
    np.testing.assert_array_equal(found.numpy(), np.stack([X[1, 2], X[0, -1]]))
    found = OPERATIONS["gather_nd"]({"x": X, "indices": index[:, None], "batch_dims": 1})
    np.testing.assert_array_equal(found.numpy()[:, 0], np.stack([X[0, 1, 2], X[1, 0, -1]]))


def test_an_index_beyond_the_axis_is_an_error_not_a_wrap() -> None:
    with pytest.raises((IndexError, RuntimeError)):
        OPERATIONS["gather"]({"x": X, "indices": np.array([-9]), "axis": 1})


def scattered(name: str, mode: str, index: Array, updates: Array) -> Array:
    """One update after the other, at every place."""
    data = X.copy()
    for at in itertools.product(*map(range, updates.shape)):
        if name == "scatter":
            to: Any = (at[0], index[at[1]], at[2])
        elif name == "scatter_along_axis":
            to = (at[0], index[at], at[2])
        else:
            to = (*index[at[0]], *at[1:])
        data[to] = MODES[mode](data[to], updates[at])
    return data


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["scatter", "scatter_along_axis", "scatter_nd"])
def test_a_scatter_is_a_loop_of_updates(name: str, mode: str) -> None:
    repeated = [2, 0] if mode == "update" else [2, 2]  # the last of two updates is not defined
    shapes = {"scatter": (2, 2, 4), "scatter_along_axis": (2, 2, 4), "scatter_nd": (2, 4)}
    updates = RNG.uniform(1, 2, shapes[name]).astype(np.float32)
    index = {
        "scatter": np.array(repeated),
        "scatter_along_axis": np.broadcast_to(np.array(repeated)[:, None], (2, 2, 4)),
        "scatter_nd": np.array([[1, repeated[0]], [1, repeated[1]]]),
    }[name]
    arguments = {"data": X, "indices": index.astype(np.int32), "updates": updates, "mode": mode}
    found = OPERATIONS[name]({**arguments, "axis": 1} if name != "scatter_nd" else arguments)
    np.testing.assert_allclose(found.numpy(), scattered(name, mode, index, updates), rtol=1e-5)


def test_places_of_what_is_not_zero() -> None:
    found = OPERATIONS["non_zero"]({"x": np.array([[0, 2], [3, 0]])})
    assert found.tolist() == [[0, 1], [1, 0]]
