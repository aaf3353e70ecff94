"""Layers by name: which there are, and which a pattern means."""

import pytest

from minuet.contracts.errors import RequestError
from minuet.quantize.layers import calls, matching
from tests.quantize.tiny import LAYERS, captured, network


def test_calls_are_found_in_order_and_counted() -> None:
    found = calls(captured(network())[0].module())
    once = ["stem", "film", "mlp", "out"]
    assert [call.key for call in found] == [f"{n}@0" for n in once] + [f"{n}@1" for n in once]
    assert {call.layer: call.kind for call in found} == {
        **{"stem": "conv2d", "out": "conv2d", "mlp": "linear", "film": "linear"},
    }


def test_patterns_are_those_of_a_shell() -> None:
    layers = ("net.stem", "net.look.key", "net.look.value")
    assert matching(layers, ["*.look.*"]) == layers[1:]
    assert matching(layers, ["net.ste?", "*value"]) == (layers[0], layers[2])


def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is() -> None:
    with pytest.raises(RequestError, match=r"'stemm' matches no layer; there are stem, mlp"):
        matching(LAYERS, ["stem", "stemm"])


def test_a_layer_that_no_input_reaches_is_constant() -> None:
    from minuet.quantize.layers import constant
    from tests.quantize.tiny import captured, network

    assert constant(captured(network())[0].module()) == {"film"}  # of the noise level alone
