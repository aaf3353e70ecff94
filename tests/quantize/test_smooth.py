"""Smoothing: the float program stays bit for bit, the quantized one comes nearer."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Array
from minuet.quantize.apply import FORMS, changed_program
from minuet.quantize.folds import folds
from minuet.quantize.runs import outputs
from minuet.quantize.smooth import FURTHEST, best_smoothing, peaks, smoothed
from tests.quantize.tiny import captured, clips, network


class Uneven(nn.Module):
    """A norm whose channels differ a thousandfold, and two linear layers with a ReLU between."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3), nn.LayerNorm(16)
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, image: Tensor) -> Tensor:
        h = self.norm(self.stem(image).permute(0, 2, 3, 1))
        made: Tensor = self.two(F.relu(self.one(h)))
        return made


def uneven() -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    module = Uneven().eval().requires_grad_(False)
    module.norm.weight.copy_(torch.logspace(-1.5, 1.5, 16))
    module.one.weight.div_(module.norm.weight[None])
    return captured(module)[0]


PROGRAM = uneven()
GRAPH = PROGRAM.module()
FOLDS = folds(GRAPH)
CLIPS = list(clips(4))


def error(made: Sequence[Array], reference: Sequence[Array]) -> float:
    return float(np.mean([np.square(a - b).mean() for a, b in zip(made, reference, strict=True)]))


def test_both_makers_are_found() -> None:
    assert [fold.weight for fold in FOLDS] == ["norm.weight", "one.weight"]


def test_peaks_are_the_largest_activations_of_each_channel() -> None:
    module = PROGRAM.module()
    found = peaks(module, FOLDS, CLIPS)
    state = PROGRAM.state_dict
    largest = np.zeros(16)
    for one in CLIPS:
        h = torch.conv2d(torch.from_numpy(one["image"]), state["stem.weight"], state["stem.bias"])
        h = F.layer_norm(h.permute(0, 2, 3, 1), (16,), state["norm.weight"], state["norm.bias"])
        largest = np.maximum(largest, h.abs().amax((0, 1, 2)).numpy())
    np.testing.assert_allclose(found["norm.weight"], largest, rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_the_float_program_keeps_every_bit(alpha: float) -> None:
    made = smoothed(GRAPH, FOLDS, peaks(GRAPH, FOLDS, CLIPS), alpha)
    assert set(made) == {"norm.weight", "norm.bias", "one.weight", "one.bias", "two.weight"}
    assert {value.dtype for value in made.values()} == {np.dtype(np.float32)}
    again = outputs(changed_program(PROGRAM, made).module(), CLIPS)
    assert all(np.array_equal(a, b) for a, b in zip(again, outputs(GRAPH, CLIPS), strict=True))


def test_scales_are_those_of_the_formula_to_the_nearest_power_of_two() -> None:
    seen = peaks(GRAPH, FOLDS, CLIPS)
    made = smoothed(GRAPH, FOLDS[:1], seen, 0.3)
    weight = GRAPH.get_parameter("one.weight").numpy()
    for channel in range(16):
        wanted = seen["norm.weight"][channel] ** 0.3 / np.abs(weight[:, channel]).max() ** 0.7
        ratio = made["one.weight"][:, channel] / weight[:, channel]
        assert len(np.unique(ratio)) == 1
        assert ratio[0] == 2.0 ** round(np.log2(wanted)) and abs(np.log2(ratio[0])) <= FURTHEST


def test_the_best_is_nearer_than_as_it_was_and_the_program_is_left_alone() -> None:
    before = {name: value.clone() for name, value in GRAPH.named_parameters()}
    layers = {"one": "int8", "two": "int8"}
    found = best_smoothing(GRAPH, FOLDS, CLIPS, layers, FORMS["executorch"], error)
    assert found.alpha is not None
    assert min(found.errors.values()) < found.errors["as it was"] / 2
    assert {f"{layer}@0.{end}" for layer in layers for end in ("in", "out")} <= set(found.ranges)
    assert all(torch.equal(value, before[name]) for name, value in GRAPH.named_parameters())


def test_where_nothing_qualifies_nothing_changes() -> None:
    graph = captured(network())[0].module()
    found = best_smoothing(graph, (), CLIPS, {"mlp": "int8"}, FORMS["executorch"], error)
    assert (found.alpha, found.tensors, list(found.errors)) == (None, {}, ["as it was"])


def test_no_clips_other_sizes_broken_weights_and_wrong_alphas_are_refused() -> None:
    with pytest.raises(RequestError, match="no clips to smooth"):
        peaks(GRAPH, FOLDS, [])
    with pytest.raises(RequestError, match=r"calibration input 0 of shapes .*16, 16"):
        peaks(GRAPH, FOLDS, clips(1, side=16))
    with pytest.raises(RequestError, match="from 0 to 1, not 2"):
        smoothed(GRAPH, FOLDS, {}, 2)
    broken = changed_program(PROGRAM, {"norm.bias": np.full(16, np.nan, np.float32)}).module()
    with pytest.raises(RequestError, match=r"one@0 are not finite"):
        peaks(broken, folds(broken), CLIPS)
