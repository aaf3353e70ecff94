"""What is computed twice is computed once, except where that is not known to be the same."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from minuet.export.rewrites.engine import apply
from minuet.export.rewrites.expansion import DelayExpansion
from minuet.export.rewrites.once import ComputedOnce
from tests.export.rewrites.rewriting import Lambda, random, rewriting


def steps(self: Any, x: Tensor, caption: Tensor) -> Tensor:
    """Two steps of a sampler that look at one caption."""
    for _ in range(2):
        key, value = self.key(caption.expand(2, 5, 4)).chunk(2, -1)
        x = x + (x @ key.transpose(1, 2)).softmax(-1) @ value
    return x


def test_a_caption_is_projected_once_for_all_steps() -> None:
    inputs = (random(2, 3, 4), random(1, 5, 4))
    layer = nn.Linear(4, 8)
    done = rewriting(steps, inputs, DelayExpansion(), ComputedOnce(), key=layer)
    done.assert_equal(0.0)
    assert (done.count("linear", before=True), done.count("linear")) == (2, 1)
    assert (done.count("chunk"), done.count("getitem"), done.count("softmax")) == (1, 2, 2)
    for name, weight in done.after.state_dict.items():
        assert weight.data_ptr() == done.before.state_dict[name].data_ptr()


def test_numbers_that_python_takes_for_equal_are_not() -> None:
    def several(x: Tensor) -> tuple[Tensor, ...]:
        same = [torch.full((3,), one, device=x.device) for one in (1, 1.0, True)]
        return (*same, x * 0.0, x * -0.0)

    done = rewriting(several, (random(3),), ComputedOnce())
    done.assert_equal(0.0)
    assert not done.log.applied


def test_random_numbers_are_drawn_as_often_as_before() -> None:
    def noisy(x: Tensor) -> Tensor:
        return x + torch.rand_like(x) - torch.rand_like(x)

    done = rewriting(noisy, (random(3, 5),), ComputedOnce())
    (place,) = done.log.refused
    assert place.refusal is not None and "may draw numbers" in place.refusal.reason
    assert done.count("rand_like") == 2


def test_what_is_written_into_is_not_shared() -> None:
    def writes(x: Tensor) -> Tensor:
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        first[:, 0] = 1
        return first + second * x

    done = rewriting(writes, (random(3, 5),), ComputedOnce())
    done.assert_equal(0.0)


@pytest.mark.parametrize("scale", [0.1, None])
def test_an_answer_in_int8_keeps_its_one_reader(scale: float | None) -> None:
    import torch.ao.quantization.fx._decomposed

    def coded(x: Tensor) -> Tensor:
        if scale is None:
            return x
        code = (scale, 0, -128, 127, torch.int8)
        made = torch.ops.quantized_decomposed.quantize_per_tensor(x, *code)
        coded: Tensor = torch.ops.quantized_decomposed.dequantize_per_tensor(made, *code)
        return coded

    def twice(self: Any, x: Tensor) -> Tensor:
        first, second = (coded(self.layer(coded(x))) for _ in range(2))
        return first + second.transpose(0, 1)

    module = Lambda(twice, layer=nn.Linear(4, 4))
    before = torch.export.export(module, (torch.rand(4, 4),), strict=False)
    after, log = apply(before, [ComputedOnce()])
    layers = [node for node in after.graph.nodes if "linear" in str(node.target)]
    assert len(layers) == (1 if scale is None else 2)
    assert all("int8" in place.refusal.reason for place in log.refused if place.refusal)
    assert bool(log.refused) is (scale is not None)
