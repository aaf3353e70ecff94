"""Each layer's error on the whole output, against changing the layer by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from minuet.contracts.errors import RequestError
from minuet.quantize.palettes import palettize
from minuet.quantize.sensitivity import Treat, sensitivities
from tests.quantize.tiny import captured, clips, network


def mean_square(made: Sequence[NDArray[Any]], reference: Sequence[NDArray[Any]]) -> float:
    return float(np.mean([np.square(a - b).mean() for a, b in zip(made, reference, strict=True)]))


def two_bits(weight: np.ndarray) -> np.ndarray:
    return palettize(weight, 2).unpack()


def test_the_error_is_that_of_the_whole_output_with_one_layer_changed() -> None:
    module = network()
    program, _ = captured(module)
    inputs = list(clips(3))
    ways: dict[str, dict[str, Treat]] = {
        "stem": {"two": two_bits, "same": lambda weight: weight},
        "mlp": {"two": two_bits},
    }
    found = dict(sensitivities(program.module(), inputs, ways, mean_square))
    images = [torch.from_numpy(one["image"]) for one in inputs]
    before = [module(image).numpy() for image in images]
    module.stem.weight.data = torch.from_numpy(two_bits(module.stem.weight.numpy()))
    after = [module(image).numpy() for image in images]
    assert found["stem"]["two"] == pytest.approx(mean_square(after, before), rel=1e-4)
    assert found["stem"]["same"] == 0
    assert found["mlp"]["two"] > 0


def test_the_program_is_left_as_it_was() -> None:
    program, example = captured(network())
    graph = program.module()
    before = graph(*example)
    list(sensitivities(graph, list(clips(1)), {"stem": {"two": two_bits}}, mean_square))
    assert torch.equal(graph(*example), before)


def test_what_is_known_is_not_measured_again() -> None:
    program, _ = captured(network())

    def broken(weight: np.ndarray) -> np.ndarray:
        raise AssertionError("measured again")

    ways = {"stem": {"two": broken}}
    known = {"stem": {"two": 0.25}}
    found = dict(sensitivities(program.module(), list(clips(1)), ways, mean_square, known))
    assert found == {"stem": {"two": 0.25}}


def test_no_clips_and_unknown_layers_are_refused() -> None:
    graph = captured(network())[0].module()
    with pytest.raises(RequestError, match="there are none"):
        list(sensitivities(graph, [], {}, mean_square))
    with pytest.raises(RequestError, match="no layer 'head'"):
        list(sensitivities(graph, list(clips(1)), {"head": {"two": two_bits}}, mean_square))
