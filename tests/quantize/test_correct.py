"""Bias correction: means come back, by the formula and on a whole network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.errors import RequestError
from minuet.quantize.apply import FORMS, changed_program
from minuet.quantize.calibrate import calibrate
from minuet.quantize.correct import corrected
from minuet.quantize.runs import outputs
from minuet.quantize.simulate import fake_weight, simulated
from tests.quantize.tiny import LAYERS, captured, clips, network

FORM = FORMS["executorch"]


class Row(nn.Module):
    """One step: a convolution, a linear layer, and one without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Linear(8, 8)
        self.last = nn.Linear(8, 4, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        h = torch.relu(self.first(image + 2)).permute(0, 2, 3, 1)
        made: Tensor = self.last(torch.relu(self.second(h)))
        return made


def row() -> tuple[torch.export.ExportedProgram, Row]:
    torch.manual_seed(0)
    module = Row().eval().requires_grad_(False)
    return captured(module)[0], module


def test_a_bias_moves_by_what_its_rounded_weight_loses_on_the_mean_input() -> None:
    program, module = row()
    only = {"first": "palette2"}
    found = corrected(program.module(), clips(5), only, {}, FORM)
    assert list(found.tensors) == ["first.bias"] and not found.skipped
    lost = module.first.weight - torch.from_numpy(
        fake_weight(module.first.weight.numpy(), "palette2")
    )
    images = torch.cat([torch.from_numpy(one["image"]) for one in clips(5)]) + 2
    bias = program.state_dict["first.bias"]
    expected = bias + torch.conv2d(images, lost).mean((0, 2, 3))
    assert found.tensors["first.bias"].dtype == np.float32
    np.testing.assert_allclose(found.tensors["first.bias"], expected.numpy(), atol=1e-5)


def test_each_layer_keeps_its_means_behind_the_corrected_ones() -> None:
    program, _ = row()
    graph, some = program.module(), list(clips(6))
    coarse = {"first": "palette2", "second": "palette2", "last": "int8"}
    ranges = calibrate(graph, some)
    found = corrected(graph, some, coarse, ranges, FORM)
    assert found.skipped == ("last",)
    better = changed_program(program, found.tensors).module()
    plain, mended = (
        np.mean(outputs(simulated(one, coarse, ranges, FORM), some), axis=(0, 1, 2, 3))
        - np.mean(outputs(graph, some), axis=(0, 1, 2, 3))
        for one in (graph, better)
    )
    assert np.abs(mended).max() < np.abs(plain).max() / 5


def test_in_int8_the_means_are_kept_to_a_share_of_a_code() -> None:
    program, _ = row()
    graph, some = program.module(), list(clips(6))
    ranges = calibrate(graph, some)
    layers = {"first": "int8"}
    found = corrected(graph, some, layers, ranges, FORM)
    better = changed_program(program, found.tensors).module()
    shown = calibrate(better, some)
    assert shown.keys() == ranges.keys()
    errors = [
        np.mean(outputs(simulated(one, layers, ranges, FORM), some)) - np.mean(outputs(graph, some))
        for one in (graph, better)
    ]
    assert abs(errors[1]) <= abs(errors[0]) + 1e-6


def test_a_layer_that_steps_share_is_moved_by_the_mean_of_its_calls() -> None:
    program = captured(network())[0]
    graph, some = program.module(), list(clips(4))
    found = corrected(graph, some, {"out": "palette2"}, {}, FORM)
    weight = graph.get_parameter("out.weight")
    lost = weight - torch.from_numpy(fake_weight(weight.numpy(), "palette2"))
    given = [node.args[0] for node in graph.graph.nodes if "conv2d" in str(node.target)][1::2]
    first = given[0]

    class Seen(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            made = super().run_node(n)
            if n is first:
                seen.append(made)
            return made

    seen: list[Tensor] = []
    for one in some:
        Seen(graph).run(torch.from_numpy(one["image"]))
    by_first = torch.conv2d(torch.cat(seen), lost, padding=1).mean((0, 2, 3))
    moved = torch.from_numpy(found.tensors["out.bias"]) - graph.get_parameter("out.bias")
    assert not torch.allclose(moved, by_first, atol=1e-4)  # the second step has its say
    assert torch.nn.functional.cosine_similarity(moved, by_first, 0) > 0


def test_what_stays_float_and_the_program_itself_stay_as_they_were() -> None:
    graph = captured(network())[0].module()
    before = {name: value.clone() for name, value in graph.named_parameters()}
    found = corrected(graph, clips(2), {"mlp": "weights"}, {}, FORMS["onnx"])
    assert list(found.tensors) == ["mlp.bias"]
    assert all(torch.equal(value, before[name]) for name, value in graph.named_parameters())


def test_the_same_clips_give_the_same_bytes() -> None:
    graph = captured(network())[0].module()
    ranges = calibrate(graph, clips(2))
    layers = dict.fromkeys(LAYERS, "int8")
    one, two = (corrected(graph, clips(2), layers, ranges, FORM).tensors for _ in range(2))
    assert one.keys() == two.keys() == {f"{layer}.bias" for layer in LAYERS}
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_no_clips_other_sizes_and_broken_weights_are_refused() -> None:
    graph = captured(network())[0].module()
    only = {"mlp": "weights"}
    form = replace(FORMS["onnx"])
    with pytest.raises(RequestError, match="no clips to correct"):
        corrected(graph, [], only, {}, form)
    with pytest.raises(RequestError, match=r"calibration input 0 of shapes .*16, 16"):
        corrected(graph, clips(1, side=16), only, {}, form)
    broken = network()
    broken.stem.weight.fill_(float("nan"))
    with pytest.raises(RequestError, match=r"mlp@0 are not finite"):
        corrected(captured(broken)[0].module(), clips(1), only, {}, form)
