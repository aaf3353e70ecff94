"""What a teacher is shown: frames or the whole clip, under its own names."""

import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.distill.views import Clip, Frames

OUTPUT = torch.randn(2, 3, 4, 5, 5)
CONDITION = {
    "sticker": torch.rand(2, 4, 5, 5),
    "look": torch.tensor([[1, 2], [3, 4]]),
    "source": torch.rand(2, 3, 4, 5, 5),
}


def test_frames_are_images_each_with_its_clips_condition() -> None:
    view = Frames(names={"tokens": "look", "picture": "source"}, each=frozenset({"source"}))
    seen, told = view(OUTPUT, CONDITION)
    assert seen.shape == (6, 4, 5, 5)
    for clip in range(2):
        for frame in range(3):
            row = 3 * clip + frame
            torch.testing.assert_close(seen[row], OUTPUT[clip, frame])
            assert told["tokens"][row].tolist() == CONDITION["look"][clip].tolist()
            torch.testing.assert_close(told["picture"][row], CONDITION["source"][clip, frame])


def test_a_clip_is_shown_whole_and_only_what_was_named() -> None:
    seen, told = Clip(names={"tokens": "look"})(OUTPUT, CONDITION)
    assert seen is OUTPUT and list(told) == ["tokens"]


def test_a_clips_own_first_frame_is_a_sticker_without_gradient() -> None:
    output = OUTPUT.clone().requires_grad_()
    _, told = Clip(names={}, first="sticker")(output, CONDITION)
    torch.testing.assert_close(told["sticker"] * 2 - 1, OUTPUT[:, 0])
    assert not told["sticker"].requires_grad


def test_gradients_pass_to_every_frame() -> None:
    output = OUTPUT.clone().requires_grad_()
    seen, _ = Frames(names={})(output, CONDITION)
    seen.sum().backward()
    assert output.grad is not None and (output.grad == 1).all()


def test_a_condition_that_the_student_is_not_told_is_named() -> None:
    with pytest.raises(RequestError, match=r"\['pose'\].*'look', 'source', 'sticker'"):
        Frames(names={"map": "pose"})(OUTPUT, CONDITION)
