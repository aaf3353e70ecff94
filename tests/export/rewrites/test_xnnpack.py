"""Numbers, pieces and squeezed axes in forms that XNNPACK takes."""

import torch
from torch import Tensor

from minuet.export.rewrites.xnnpack import PlainReshapes, Slices, TanhGelu, TensorOperands
from tests.export.rewrites.rewriting import random, rewriting


def test_numbers_become_constants_of_the_tensors_dtype() -> None:
    def numbers(x: Tensor) -> Tensor:
        return (1 - x) * 2 + 2 - x / 4

    done = rewriting(numbers, (random(3, 5),), TensorOperands())
    done.assert_equal(0.0)
    assert len(done.after.constants) == 3  # 1, 2 and 4
    assert {value.dtype for value in done.after.constants.values()} == {torch.float64}


def test_scalars_stay_scalars() -> None:
    def scalars(x: Tensor) -> tuple[Tensor, ...]:
        bent = torch.nn.functional.gelu(x.mean(), approximate="tanh")
        return bent, 1 - x.mean() * 2, torch.stack([x.sum() / 4, x.amax()])

    done = rewriting(scalars, (random(2, 3, 4),), TanhGelu(), TensorOperands())
    done.assert_equal()
    assert not done.log.refused and done.count("gelu") == 0


def test_integers_keep_their_numbers() -> None:
    done = rewriting(lambda x: x.long() * 2.5, (random(3),), TensorOperands())
    (place,) = done.log.refused
    assert place.refusal is not None and "integers" in place.refusal.reason


def test_gelu_with_a_tanh_is_written_out_and_the_other_form_stays() -> None:
    def both(x: Tensor) -> Tensor:
        bent = torch.nn.functional.gelu(x * 3, approximate="tanh")
        return bent + torch.nn.functional.gelu(x * 3)

    done = rewriting(both, (random(4, 64),), TanhGelu())
    done.assert_equal()
    assert done.count("gelu", before=True) == 2 and done.count("gelu") == 1


def test_pieces_become_slices() -> None:
    def pieces(x: Tensor) -> Tensor:
        a, b, c = x.chunk(3, dim=-1)  # 3, 3 and 2
        d, _ = x.split_with_sizes([1, 7], 1)
        return a.sum() + (b * 2).sum() + (c * 3).sum() + d

    done = rewriting(pieces, (random(4, 8),), Slices())
    done.assert_equal()
    assert done.count("slice") == 4 and done.count("chunk") + done.count("split") == 0


def test_squeezed_axes_become_reshapes() -> None:
    def squeezed(x: Tensor) -> Tensor:
        return x.unsqueeze(1).sin().squeeze(1).cos().flatten(0, 1)[None].tan().select(0, 0)

    done = rewriting(squeezed, (random(2, 3, 4),), PlainReshapes())
    done.assert_equal(0.0)
    assert done.count("reshape") == 5 and done.count("squeeze") + done.count("select") == 0
