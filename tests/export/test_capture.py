"""A captured program is the module, and says so when it cannot be."""

import numpy as np
import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Signature
from minuet.export.capture import Program, capture
from tests.standin import Standin, example, signature


class Branching(torch.nn.Module):
    def forward(self, image: torch.Tensor, tokens: torch.Tensor, noise: torch.Tensor) -> object:
        return image if image.sum() > 0 else noise


def test_a_program_computes_what_its_module_does(program: Program, module: Standin) -> None:
    inputs = tuple(torch.from_numpy(value) for value in example(128, seed=3).values())
    with torch.inference_mode():
        assert torch.equal(program.exported.module()(*inputs), module(*inputs))


def test_no_tensor_of_a_program_has_more_than_five_axes(program: Program) -> None:
    values = [node.meta.get("val") for node in program.exported.graph.nodes]
    assert max(v.dim() for v in values if isinstance(v, torch.Tensor)) <= 5


def test_an_example_of_another_shape_is_refused_with_both_shapes(module: Standin) -> None:
    inputs = {**example(128), "image": np.zeros((1, 3, 128, 128), np.float32)}
    with pytest.raises(RequestError, match=r"image.*\(1, 4, 128, 128\).*\(1, 3, 128, 128\)"):
        capture(module, inputs, signature(128))


def test_a_module_that_gives_something_else_is_refused(module: Standin) -> None:
    wrong = signature(128)
    with pytest.raises(RequestError, match="its signature says"):
        capture(torch.nn.Identity(), {"image": example(128)["image"]}, _only_image(wrong))


def test_control_flow_on_data_is_refused_in_one_message() -> None:
    with pytest.raises(
        RequestError, match=r"could not capture Branching: .*\(in Branching, test_capture.py:\d+\)"
    ):
        capture(Branching(), example(64), signature(64))


def _only_image(whole: Signature) -> Signature:
    from dataclasses import replace

    return replace(whole, inputs=whole.inputs[:1])
