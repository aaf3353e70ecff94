"""A program ends where it is cut, and gives there what it always gave."""

import numpy as np
import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.export.capture import Program
from minuet.export.cut import cut


def test_a_cut_gives_the_values_that_flow_through_it(program: Program) -> None:
    names = ["permute", "conv2d", "conv2d_1"]
    part = cut(program, names)
    assert [spec.name for spec in part.signature.outputs] == ["cut_0", "cut_1", "cut_2"]
    assert part.signature.inputs == program.signature.inputs
    seen: dict[str, torch.Tensor] = {}

    class Watch(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            seen[n.name] = result = super().run_node(n)
            return result

    with torch.inference_mode():
        Watch(program.exported.module(check_guards=False)).run(*program.inputs)
        found = part.exported.module()(*part.inputs)
    for name, value, spec in zip(names, found, part.signature.outputs, strict=True):
        np.testing.assert_array_equal(value.numpy(), seen[name].numpy())
        assert tuple(value.shape) == spec.shape


def test_a_cut_leaves_the_program_whole_and_drops_what_comes_later(program: Program) -> None:
    before = len(program.exported.graph.nodes)
    part = cut(program, ["conv2d"])
    assert len(program.exported.graph.nodes) == before
    assert sum(n.op == "call_function" for n in part.exported.graph.nodes) < before / 4


def test_a_node_that_is_not_there_is_refused(program: Program) -> None:
    with pytest.raises(RequestError, match="no node 'conv9d'"):
        cut(program, ["conv2d", "conv9d"])
