"""What is known beforehand is computed beforehand, and kept once."""

import torch
from torch import Tensor, nn

from minuet.export.rewrites.constants import LARGEST, FoldConstants, RemoveNothing
from minuet.export.rewrites.engine import apply
from tests.export.rewrites.rewriting import Lambda, random, rewriting


def test_the_embedding_of_a_fixed_noise_level_is_one_constant() -> None:
    def step(self: nn.Module, x: Tensor) -> Tensor:
        level = torch.tensor([0.7], dtype=x.dtype)
        angles = level[:, None] * torch.exp(torch.arange(4, dtype=x.dtype))
        return x * self.embed(torch.cat([angles.sin(), angles.cos()], 1))  # type: ignore[operator,no-any-return]

    done = rewriting(step, (random(3, 5),), FoldConstants(), embed=nn.Linear(8, 5))
    done.assert_equal()
    assert done.length[1] == 1
    assert list(done.after.state_dict) == []  # the layer went into the constant


def test_steps_that_share_a_level_share_its_constant() -> None:
    def steps(x: Tensor) -> Tensor:
        first = torch.arange(5, dtype=x.dtype).exp() * x
        return first * torch.arange(5, dtype=x.dtype).exp()

    done = rewriting(steps, (random(3, 5),), FoldConstants())
    done.assert_equal()
    assert len(done.after.constants) == 1


def test_weights_are_shared_and_the_caller_keeps_its_program() -> None:
    module = Lambda(lambda self, x: self.layer(x) * torch.arange(4).exp(), layer=nn.Linear(3, 4))
    before = torch.export.export(module, (torch.rand(2, 3),), strict=False)
    text = str(before.graph)
    after, _ = apply(before, [FoldConstants()])
    assert str(before.graph) == text
    for name, value in after.state_dict.items():
        assert value.data_ptr() == before.state_dict[name].data_ptr()


def test_random_numbers_are_not_folded() -> None:
    done = rewriting(lambda x: x + torch.rand(5, dtype=x.dtype), (random(3, 5),), FoldConstants())
    assert done.count("rand") == 1 and not done.log.applied


def test_a_constant_larger_than_its_makers_is_refused() -> None:
    def spread(x: Tensor) -> Tensor:
        return x.sum() + torch.arange(LARGEST + 1, dtype=x.dtype).sin()

    done = rewriting(spread, (random(2),), FoldConstants())
    (place,) = done.log.refused
    assert place.refusal is not None and "elements" in place.refusal.reason


def test_a_quantized_weight_is_not_made_float_again() -> None:
    import torch.ao.quantization.fx._decomposed

    weight = torch.randint(-9, 9, (4, 4), dtype=torch.int8)

    def layer(self: nn.Module, x: Tensor) -> Tensor:
        made = torch.ops.quantized_decomposed.dequantize_per_tensor(
            self.weight, 0.1, 0, -128, 127, torch.int8
        )
        y: Tensor = x @ made.to(x.dtype)
        return y

    before = torch.export.export(Lambda(layer, weight=weight), (random(2, 4),), strict=False)
    after, log = apply(before, [FoldConstants()])
    assert not log.applied and "dequantize" in str(after.graph)


def test_operators_that_do_nothing_go() -> None:
    def idle(x: Tensor) -> Tensor:
        y = x.to(x.dtype).contiguous().reshape(x.shape).expand(3, 5).clone()
        return torch.dropout(y, 0.1, False) * 2

    done = rewriting(idle, (random(3, 5),), RemoveNothing())
    done.assert_equal(0.0)
    assert done.length[1] == 1


def test_a_squeeze_of_an_axis_that_is_not_one_goes() -> None:
    done = rewriting(lambda x: x.squeeze(1)[:, :5] * 2, (random(3, 5),), RemoveNothing())
    done.assert_equal(0.0)
    assert done.length[1] == 1
    done = rewriting(lambda x: x.squeeze(1) * 2, (random(3, 1),), RemoveNothing())
    assert done.length[1] == 2


def test_a_dropout_that_trains_is_refused() -> None:
    done = rewriting(lambda x: torch.dropout(x, 0.1, True), (random(3, 5),), RemoveNothing())
    (place,) = done.log.refused
    assert place.refusal is not None and "trains" in place.refusal.reason
