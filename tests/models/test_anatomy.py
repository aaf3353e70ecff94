"""Anatomy: joints are read from pictures, and turns go about them."""

import pytest
import torch
from torch.testing import assert_close

from minuet.models.anatomy import SOFT, AnatomyReader, anatomy_losses, known_anatomy
from minuet.models.motions import Script

LANDMARKS, TRAITS = 2, 3


def label() -> torch.Tensor:
    return torch.tensor([[0.1, -0.2, 0.3, 0.4, 0.9, 0.0, 1.0, 0.0]])


def test_a_label_comes_apart_into_points_size_and_traits() -> None:
    anatomy = known_anatomy(label(), LANDMARKS)
    assert_close(anatomy.points_BM2, torch.tensor([[[0.1, -0.2], [0.3, 0.4]]]))
    assert anatomy.size_B1.item() == pytest.approx(0.9)
    assert_close(anatomy.traits_BJ.sign(), torch.tensor([[-1.0, 1.0, -1.0]]))
    assert_close(anatomy.lengths_BV, torch.tensor([[0.1, -0.2, 0.3, 0.4, 0.9, 1.0]]))


def test_the_truth_costs_nothing_and_an_error_its_distance() -> None:
    exact = anatomy_losses(known_anatomy(label(), LANDMARKS), label())
    assert exact["points"] == 0 and exact["traits"] < 1e-3
    beside = label()
    beside[0, 0] += 0.5
    beside[0, 4] += 0.25
    found = anatomy_losses(known_anatomy(beside, LANDMARKS), label())["points"]
    assert found == pytest.approx(0.5 / LANDMARKS + 0.25, abs=SOFT)


def test_a_reader_learns_where_a_bright_spot_is() -> None:
    torch.manual_seed(0)
    side, channels = 8, 16
    reader = AnatomyReader(channels, 1, 1, side)
    paint = torch.randn(channels)
    optimizer = torch.optim.Adam(reader.parameters(), 1e-2)
    for _ in range(150):
        at = torch.randint(side * side, (32,))
        x = torch.zeros(32, channels, side * side)
        x[torch.arange(32), :, at] = paint
        label = torch.cat([reader.places.T[at], torch.ones(32, 1), torch.zeros(32, 1)], dim=1)
        found = reader(x.reshape(32, channels, side, side), torch.zeros(32, 2 * channels, 4, 4))
        losses = anatomy_losses(found, label)
        optimizer.zero_grad()
        sum(losses.values(), torch.zeros(())).backward()
        optimizer.step()
    assert losses["points"] < 0.1  # a guess in the middle costs 0.77


def test_a_turn_about_a_joint_leaves_the_joint_where_it_is() -> None:
    """The script's matrices, set by hand to a quarter turn about the second landmark."""
    script = Script(8, vocabulary=4, frames=2, parts=1, film=4, landmarks=LANDMARKS, traits=TRAITS)
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]) - torch.eye(2)
    lengths = 2 * LANDMARKS + 2
    by_length = torch.zeros(2, lengths)
    by_length[:, 2:4] = -turn
    with torch.no_grad():
        script.out.bias.copy_(torch.cat([turn.flatten(), by_length.flatten()]))
    told = script(torch.zeros(1, 8), torch.zeros(2, 4), known_anatomy(label(), LANDMARKS))
    motion = told[1, 0].reshape(2, 3) + torch.eye(2, 3)
    assert_close(motion @ torch.tensor([0.3, 0.4, 1.0]), torch.tensor([0.3, 0.4]))
    assert_close(motion[:, :2], turn + torch.eye(2))
