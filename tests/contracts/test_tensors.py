"""Signatures: there and back, and a wrong array is named with both sides of the mismatch."""

import json
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from minuet.contracts.errors import RequestError
from minuet.contracts.records import record
from minuet.contracts.tensors import DTYPES, Signature, TensorSpec, to_safetensors

IMAGE = TensorSpec(
    name="image", axes="BCHW", shape=(1, 4, 8, 8), dtype="float32", low=0.0, high=1.0, meaning="x"
)
TOKENS = TensorSpec(name="tokens", axes="BL", shape=(1, 16), dtype="int32")
FRAMES = TensorSpec(name="frames", axes="TCHW", shape=(8, 4, 8, 8), dtype="uint8")
SIGNATURE = Signature(inputs=(IMAGE, TOKENS), outputs=(FRAMES,))


def given() -> dict[str, Any]:
    return {"image": np.zeros((1, 4, 8, 8), np.float32), "tokens": np.zeros((1, 16), np.int32)}


def test_a_signature_comes_back_from_json() -> None:
    assert record(Signature, json.loads(json.dumps(SIGNATURE.to_json()))) == SIGNATURE


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_one_that_numpy_knows(dtype: str) -> None:
    spec = TensorSpec(name="x", axes="L", shape=(2,), dtype=dtype)
    spec.check(np.zeros(2, dtype))


def test_inputs_that_fit_pass() -> None:
    SIGNATURE.check_inputs(given())


def test_another_shape_or_dtype_is_refused_with_both_sides() -> None:
    wide = given() | {"tokens": np.zeros((1, 17), np.int32)}
    with pytest.raises(RequestError, match=r"tokens: int32 of shape \(1, 16\) .* \(1, 17\) was"):
        SIGNATURE.check_inputs(wide)
    double = given() | {"image": np.zeros((1, 4, 8, 8))}
    with pytest.raises(RequestError, match=r"image: float32 .* float64 of shape"):
        SIGNATURE.check_inputs(double)


@pytest.mark.parametrize("inputs", [{}, {"image": np.zeros(1)}, {**given(), "noise": np.zeros(1)}])
def test_missing_and_unknown_inputs_are_named(inputs: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=r"takes \['image', 'tokens'\]; given: ") as caught:
        SIGNATURE.check_inputs(inputs)
    assert str(sorted(inputs)) in str(caught.value)


def test_a_spec_that_contradicts_itself_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"x: 2 axes for shape \(1,\)"):
        TensorSpec(name="x", axes="BL", shape=(1,), dtype="int32")
    with pytest.raises(ValueError, match="'complex64' is not one of"):
        TensorSpec(name="x", axes="L", shape=(1,), dtype="complex64")


def test_an_array_comes_back_as_it_was_however_it_lies_in_memory() -> None:
    plain = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {
        "turned": plain.transpose(2, 0, 1),
        "stacked": np.stack([plain.transpose(1, 2, 0)] * 2),
        "every other": plain[:, ::2],
        "backwards": plain[::-1],
        "scalar": np.float32(3),
    }
    found = load(to_safetensors({name: np.asarray(value) for name, value in arrays.items()}))
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value, strict=True)


def test_the_same_arrays_and_notes_are_the_same_bytes_in_any_order() -> None:
    one, two = np.zeros(3, np.float32), np.ones(2, np.int32)
    notes = {f"note {at}": str(at) for at in range(9)}
    backwards = dict(reversed(notes.items()))
    first = to_safetensors({"one": one, "two": two}, notes)
    assert first == to_safetensors({"two": two, "one": one}, backwards)
