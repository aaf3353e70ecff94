"""A sticker plays, and its first frame alone stands in for it where nothing may move."""

import io

import numpy as np
import pytest
from PIL import Image

from minuet.benchmarks.page_stickers import Sheet, first_frame, stickers
from tests.benchmarks.storied import webp


def test_the_still_is_the_first_frame_alone() -> None:
    moving = webp(frames=4)
    with (
        Image.open(io.BytesIO(first_frame(moving))) as still,
        Image.open(io.BytesIO(moving)) as all_,
    ):
        assert getattr(still, "n_frames", 1) == 1 and getattr(all_, "n_frames", 1) == 4
        near = np.abs(
            np.asarray(still.convert("RGBA"), int) - np.asarray(all_.convert("RGBA"), int)
        )
        assert near[..., 3].max() == 0 and near[:6, :6].mean() < 12  # lossy, but the same square


@pytest.mark.parametrize("webp", [b"", b"RIFF0000WEBP", b"GIF89a"])
def test_what_is_no_sticker_stays_what_it_is(webp: bytes) -> None:
    assert first_frame(webp) == webp


def test_both_have_words_for_those_who_do_not_see_them() -> None:
    part = stickers([Sheet(title='fox "a"', webp=webp(), size=64)])
    assert part.body.count('alt="The sticker that fox &quot;a&quot; drew"') == 2
    assert part.body.count("data:image/webp;base64,") == 2
    assert stickers([]).body == ""
