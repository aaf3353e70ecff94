"""A program run on clips: its answers, its calls, and itself with other parameters."""

import numpy as np
import pytest
import torch
from torch import Tensor

from minuet.contracts.errors import RequestError
from minuet.quantize.layers import Call
from minuet.quantize.runs import changed, outputs, watched
from tests.quantize.tiny import captured, clips, network

MODULE = network()
GRAPH = captured(MODULE)[0].module()


def answers(factor: float = 1.0) -> list[np.ndarray]:
    """The network's own, with the weights of its stem scaled."""
    module = network()
    module.stem.weight.mul_(factor)
    return [module(torch.from_numpy(one["image"])).numpy() for one in clips(3)]


def test_outputs_are_the_networks_own() -> None:
    for made, own in zip(outputs(GRAPH, clips(3)), answers(), strict=True):
        np.testing.assert_allclose(made, own, atol=1e-6)


def test_a_parameter_is_changed_for_as_long_as_it_takes() -> None:
    before = outputs(GRAPH, clips(3))
    with (
        pytest.raises(KeyboardInterrupt),
        changed(GRAPH, {"stem.weight": 2 * GRAPH.get_parameter("stem.weight").numpy()}),
    ):
        for made, own in zip(outputs(GRAPH, clips(3)), answers(2.0), strict=True):
            np.testing.assert_allclose(made, own, atol=1e-6)
        raise KeyboardInterrupt
    for made, own in zip(outputs(GRAPH, clips(3)), before, strict=True):
        np.testing.assert_array_equal(made, own)


def test_every_call_is_seen_with_what_it_is_given_and_makes_clip_by_clip() -> None:
    seen: list[tuple[str, Tensor, Tensor]] = []

    def see(call: Call, given: Tensor, made: Tensor) -> None:
        seen.append((call.key, given, made))

    for at, one in enumerate(watched(GRAPH, clips(2), see)):
        mine = seen[8 * at :]
        names = [f"{layer}@{step}" for step in (0, 1) for layer in ("stem", "film", "mlp", "out")]
        assert [key for key, _, _ in mine] == names
        for key, given, made in mine:
            layer = MODULE.get_submodule(key.partition("@")[0])
            torch.testing.assert_close(layer(given), made)
        assert torch.equal(mine[0][1], torch.from_numpy(one["image"]))


def test_a_clip_of_another_shape_is_refused_by_its_number() -> None:
    given = [*clips(1), *clips(1, side=16)]
    with pytest.raises(RequestError, match=r"calibration input 6 of shapes .*16, 16"):
        list(watched(GRAPH, given, lambda *_: None, first=5))
