import numpy as np
import pytest

from minuet.contracts.pixels import change, premultiplied, seam


def test_colour_without_alpha_does_not_count() -> None:
    pixels = np.array([[255, 128, 0, 0], [255, 51, 0, 51]], np.uint8)
    expected = [[0, 0, 0, 0], [0.2, 0.04, 0, 0.2]]
    assert premultiplied(pixels) == pytest.approx(np.array(expected))
    assert premultiplied(pixels).dtype == np.float32 and pixels[0, 0] == 255


@pytest.mark.parametrize(
    ("levels", "moved", "seamed"),
    [
        ([0, 1, 2, 1], 1.0, 1.0),  # there and back: every step is like the others
        ([0, 1, 2, 3], 1.5, 2.0),  # three steps of 1, and one of 3
        ([0, 0, 0, 4], 2.0, 2.0),
        ([5, 5, 5, 5], 0.0, 1.0),  # still
    ],
)
def test_the_seam_is_the_last_step_over_the_mean_step(
    levels: list[int], moved: float, seamed: float
) -> None:
    frames = np.broadcast_to(np.array(levels, np.float32)[:, None, None, None], (4, 2, 2, 4))
    assert change(frames) == pytest.approx(moved)
    assert seam(frames) == pytest.approx(seamed)
    assert seam(frames) <= len(levels)
