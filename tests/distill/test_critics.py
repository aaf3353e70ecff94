"""Critics: what they see, what they learn, what they leave alone; their losses by hand."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from minuet.distill.critics import (
    Critic,
    frozen,
    hinge_critic,
    hinge_student,
    softplus_critic,
    softplus_student,
    untrained,
)

CHANNELS = (6, 12)


class Trunk(nn.Module):
    """A small random network whose two levels serve as features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(4, CHANNELS[0], 3, stride=2, padding=1)
        self.second = nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, stride=2, padding=1)

    def forward(self, images_NCHW: Tensor) -> Sequence[Tensor]:
        first = torch.relu(self.first(images_NCHW))
        return [first, torch.relu(self.second(first))]


def critic(*, condition: int = 0, temporal: bool = False) -> Critic:
    torch.manual_seed(4)
    return Critic(frozen(Trunk()), CHANNELS, condition=condition, temporal=temporal, width=16)


def square(place: int, side: int = 16) -> Tensor:
    """A picture of a bright square at a place."""
    picture = torch.full((4, side, side), -1.0)
    picture[:, 4:10, place : place + 4] = 1.0
    return picture


def moving(*places: int) -> Tensor:
    return torch.stack([square(place) for place in places])[None]


def test_every_place_of_every_frame_and_level_is_judged() -> None:
    assert critic()(torch.randn(2, 3, 4, 16, 16)).shape == (2, 3 * (8 * 8 + 4 * 4))


def test_large_maps_are_judged_at_eight_cells_a_side() -> None:
    assert critic()(torch.randn(1, 1, 4, 64, 64)).shape == (1, 2 * 64)


def test_an_image_is_a_clip_of_one_frame() -> None:
    judge, images = critic(temporal=True), torch.randn(3, 4, 16, 16)
    judge.eval()  # in training, spectral norm moves with every look
    torch.testing.assert_close(judge(images), judge(images[:, None]), rtol=0, atol=0)


def test_features_are_neither_saved_nor_trained_but_pass_gradients() -> None:
    judge, clip = critic(), torch.randn(1, 2, 4, 16, 16, requires_grad=True)
    assert not any("first" in name for name in judge.state_dict())
    judge(clip).sum().backward()
    assert clip.grad is not None and clip.grad.abs().max() > 0
    assert not any(p.requires_grad for p in judge._features[0].parameters())  # type: ignore[attr-defined]


def test_only_a_temporal_critic_sees_the_order_of_frames() -> None:
    forth, shuffled = moving(0, 3, 6, 9), moving(0, 6, 9, 3)
    for temporal in (False, True):
        judge = critic(temporal=temporal).eval()
        apart = judge(forth).sort().values - judge(shuffled).sort().values
        assert (apart.abs().max() > 1e-4) == temporal


def test_a_told_critic_depends_on_what_it_is_told() -> None:
    judge, clip = critic(condition=5).eval(), moving(0, 3)
    first, second = judge(clip, torch.zeros(1, 5)), judge(clip, torch.ones(1, 5))
    assert (first - second).abs().max() > 1e-4


def test_untrained_networks_keep_no_gradient_and_are_trained_again_afterwards() -> None:
    judge, clip = critic(), torch.randn(1, 1, 4, 16, 16, requires_grad=True)
    with untrained(judge):
        judge(clip).sum().backward()
    assert clip.grad is not None
    assert all(p.grad is None for p in judge.parameters())
    assert all(p.requires_grad for p in judge.parameters())


@pytest.mark.parametrize("temporal", [False, True])
def test_a_critic_learns_what_its_heads_can_see(temporal: bool) -> None:
    """Smooth motion against the same frames out of order: per-frame heads must fail."""
    judge = critic(temporal=temporal)
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    real, fake = moving(0, 3, 6, 9), moving(0, 9, 3, 6)
    for _ in range(60):
        loss = hinge_critic(judge(real), judge(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    told_apart = (judge(real).mean() - judge(fake).mean()).item()
    assert told_apart > 1 if temporal else abs(told_apart) < 0.05


def test_losses_equal_their_formulas() -> None:
    real, fake = torch.tensor([0.5, 3.0]), torch.tensor([-2.0, 0.25])
    assert hinge_critic(real, fake).item() == pytest.approx((0.5 + 0) / 2 + (0 + 1.25) / 2)
    assert hinge_student(fake).item() == pytest.approx(0.875)
    logistic = [math.log1p(math.exp(-float(r))) for r in real]
    unsure = [math.log1p(math.exp(float(f))) for f in fake]
    assert softplus_critic(real, fake).item() == pytest.approx(sum(logistic + unsure) / 2)
    fooled = [math.log1p(math.exp(-float(f))) for f in fake]
    assert softplus_student(fake).item() == pytest.approx(sum(fooled) / 2)


def test_the_students_loss_has_a_gradient_where_the_critic_is_surest() -> None:
    sure = torch.tensor([-5.0], requires_grad=True)
    hinge_student(sure).backward()
    assert sure.grad is not None and sure.grad.item() == -1.0
