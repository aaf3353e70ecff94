"""The one question: composed predictions, nothing told, guidance over several conditions."""

import torch
from torch import Tensor

from minuet.distill.predict import Composed, Condition, Guided, untold
from minuet.models.compose import compose
from tests.distill.squares import squares
from tests.models.tiny import denoiser


def test_a_denoiser_answers_with_its_composed_clip() -> None:
    network, batch = denoiser(), squares(2, side=16)
    noisy, t_B = torch.randn(batch.x0.shape), torch.tensor([0.3, 1.0])
    found = Composed(network)(noisy, t_B, batch.condition)
    context = network.encode(batch.sticker_BCHW, batch.tokens_BL)
    fields = network.fields(noisy, t_B, batch.sticker_BCHW, context)
    wanted = compose(batch.sticker_BCHW, fields, 4).reshape(batch.x0.shape) * 2 - 1
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_gradients_reach_the_network() -> None:
    predictor, batch = Composed(denoiser()), squares(1, side=16)
    predictor(batch.x0, torch.ones(1), batch.condition).square().mean().backward()
    assert predictor.network.out.weight.grad is not None
    assert predictor.network.out.weight.grad.abs().max() > 0


def test_an_untold_condition_is_padding_or_zeros_and_the_rest_is_kept() -> None:
    condition = {"sticker": torch.ones(1, 4, 2, 2), "tokens": torch.tensor([[3, 4]])}
    assert untold(condition, "tokens")["tokens"].tolist() == [[0, 0]]
    assert untold(condition, "tokens")["sticker"] is condition["sticker"]
    assert untold(condition, "sticker")["sticker"].abs().max() == 0


def linear(noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
    """A predictor whose every branch is known: noisy + picture + 10 picture words."""
    return noisy + condition["picture"] + 10 * condition["picture"] * condition["words"]


def test_two_scales_weigh_the_picture_and_the_words_apart() -> None:
    told = {"picture": torch.tensor([2.0]), "words": torch.tensor([3.0])}
    noisy, t_B = torch.tensor([1.0]), torch.ones(1)
    found = Guided(predictor=linear, scales={"picture": 1.5, "words": 4.0})(noisy, t_B, told)
    assert found.item() == 1 + 1.5 * 2 + 4.0 * (10 * 2 * 3)


def test_scales_of_one_are_no_guidance() -> None:
    told = {"picture": torch.tensor([2.0]), "words": torch.tensor([3.0])}
    noisy, t_B = torch.tensor([1.0]), torch.ones(1)
    found = Guided(predictor=linear, scales={"picture": 1.0, "words": 1.0})(noisy, t_B, told)
    assert found.item() == linear(noisy, t_B, told).item()
