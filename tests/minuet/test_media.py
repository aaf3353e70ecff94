"""What is written is read back: frames, alpha, times, loops; equal frames give equal bytes."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from minuet import media
from minuet.contracts.errors import MissingBackendError, RequestError

SIZE, COUNT = 48, 8
ANIMATED = (".webp", ".gif", ".png", ".apng")


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    """A disc with a soft edge and a gradient, which goes round."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    made = []
    for turn in np.arange(COUNT) / COUNT * 2 * np.pi:
        far = np.hypot(x - 0.2 * np.cos(turn), y - 0.2 * np.sin(turn))
        alpha = np.clip((0.25 - far) * 24, 0, 1)
        planes = [0.9 - 0.5 * (x + 0.5), 0.2 + 0.6 * (y + 0.5), np.full_like(x, 0.3), alpha]
        made.append(np.stack(planes, -1))
    return np.asarray((np.stack(made) * 255).round(), np.uint8)


def read_back(path: Path) -> tuple[NDArray[np.uint8], list[float], Any]:
    with Image.open(path) as file:
        shown = [(np.asarray(f.convert("RGBA")), f.info["duration"]) for f in _frames(file)]
        loop = file.info.get("loop")
    return np.stack([one for one, _ in shown]), [time for _, time in shown], loop


def _frames(file: Image.Image) -> Any:
    return ImageSequence.Iterator(file)


@pytest.mark.parametrize("suffix", [".webp", ".png", ".apng"])
def test_webp_and_apng_keep_every_visible_pixel(
    tmp_path: Path, frames: NDArray[np.uint8], suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    media.write_animation(path, frames)
    found, times, loop = read_back(path)
    assert np.array_equal(found[..., 3], frames[..., 3])
    seen = frames[..., 3] > 0
    assert np.array_equal(found[seen], frames[seen])
    assert (times, loop) == ([125] * COUNT, 0)


def test_gif_has_hard_edges_true_colours_and_loops(
    tmp_path: Path, frames: NDArray[np.uint8]
) -> None:
    path = tmp_path / "out.gif"
    media.write_animation(path, frames)
    found, times, loop = read_back(path)
    assert np.array_equal(found[..., 3] == 255, frames[..., 3] >= 128)
    assert set(np.unique(found[..., 3])) == {0, 255}
    drawn = found[..., 3] == 255
    error = np.abs(found[drawn][:, :3].astype(int) - frames[drawn][:, :3])
    assert error.mean() < 3 and error.max() < 24
    assert (sum(times), loop) == (1000, 0)


def test_gif_takes_frames_of_which_nothing_is_seen(tmp_path: Path) -> None:
    blank = np.zeros((2, 8, 8, 4), np.uint8)
    blank[1, 2:5, 2:5] = 255
    media.write_animation(tmp_path / "out.gif", blank)
    found, _, _ = read_back(tmp_path / "out.gif")
    assert np.array_equal(found[..., 3], blank[..., 3])


@pytest.mark.parametrize("suffix", ANIMATED)
def test_a_background_leaves_nothing_transparent(
    tmp_path: Path, frames: NDArray[np.uint8], suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    media.write_animation(path, frames, background=(255, 0, 0))
    found, _, _ = read_back(path)
    assert (found[..., 3] == 255).all()
    assert np.abs(found[0, 0, 0].astype(int) - [255, 0, 0, 255]).max() <= 2


@pytest.mark.parametrize("suffix", [*ANIMATED, ".mp4"])
def test_the_same_frames_give_the_same_bytes(
    tmp_path: Path, frames: NDArray[np.uint8], suffix: str
) -> None:
    if suffix == ".mp4":
        pytest.importorskip("av")
    for name in ("one", "two"):
        media.write_animation(tmp_path / f"{name}{suffix}", frames)
    one, two = sorted(tmp_path.iterdir())
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("suffix", ANIMATED)
def test_equal_frames_keep_the_whole_time(
    tmp_path: Path, frames: NDArray[np.uint8], suffix: str
) -> None:
    held = frames[[0, 1, 1, 1, 2, 3, 3, 0]]
    path = tmp_path / f"out{suffix}"
    media.write_animation(path, held)
    _, times, _ = read_back(path)
    assert sum(times) == 1000


def test_mp4_is_shown_several_times_over_its_background(
    tmp_path: Path, frames: NDArray[np.uint8]
) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "out.mp4"
    media.write_animation(path, frames[:, :47, :45], background=(0, 255, 0))
    with av.open(str(path)) as video:
        track = video.streams.video[0]
        found = [frame.to_ndarray(format="rgb24") for frame in video.decode(track)]
        rate = float(track.average_rate)
    assert (len(found), rate, found[0].shape) == (COUNT * media.VIDEO_LOOPS, 8, (46, 44, 3))
    assert np.abs(found[0][2, 2].astype(int) - [0, 255, 0]).max() < 12
    wanted = media.flattened(frames[0, :46, :44], (0, 255, 0))[..., :3].astype(int)
    assert np.abs(found[0].astype(int) - wanted).mean() < 6


def test_mp4_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingBackendError, match=r"pip install 'minuet\[video\]'"):
        media.kind_of(tmp_path / "out.mp4")


@pytest.mark.parametrize("name", ["out", "out.jpg", "out.webp.exe"])
def test_another_suffix_is_refused_with_the_choices(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match=r"\.webp, \.gif"):
        media.kind_of(tmp_path / name)


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    (tmp_path / "out.webp").mkdir()
    with pytest.raises(RequestError, match="a folder is there"):
        media.kind_of(tmp_path / "out.webp")


def test_a_suffix_in_capitals_is_known(tmp_path: Path, frames: NDArray[np.uint8]) -> None:
    assert media.write_animation(tmp_path / "OUT.GIF", frames).name == "GIF"


def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, frames: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.webp"
    path.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RequestError, match="disk is full"):
        media.write_animation(path, frames)
    assert [one.name for one in tmp_path.iterdir()] == ["out.webp"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("fps", "unit"), [(8, 1), (8, 10), (12, 10), (24, 1), (7, 10)], ids=lambda v: str(v)
)
def test_rounded_times_do_not_drift(fps: int, unit: int) -> None:
    times = media.durations(50, fps, unit)
    assert abs(sum(times) - 50_000 / fps) <= unit / 2
    assert all(abs(time - 1000 / fps) <= unit and time % unit == 0 for time in times)


def test_flattening_is_the_over_operator() -> None:
    pixel = np.array([[[200, 100, 0, 51]]], np.uint8)  # a fifth
    assert media.flattened(pixel, (0, 50, 255))[0, 0].tolist() == [40, 60, 204, 255]


@pytest.mark.parametrize(("text", "value"), [("white", (255,) * 3), ("#ffe4c4", (255, 228, 196))])
def test_a_colour_is_a_name_or_a_number(text: str, value: tuple[int, int, int]) -> None:
    assert media.colour(text) == value


def test_another_colour_is_refused() -> None:
    with pytest.raises(RequestError, match="ultraviolet"):
        media.colour("ultraviolet")


def test_a_sheet_shows_every_picture_where_it_belongs(frames: NDArray[np.uint8]) -> None:
    solid = [np.full((10, 20, 4), (value, 0, 0, 255), np.uint8) for value in (50, 150, 250)]
    paper = media.sheet([solid, solid[:2]], ["teacher", "student"], columns="abc", side=60)
    gap = 5
    bottom = 15 + 2 * (60 + gap) + gap
    left = paper.shape[1] - 3 * (60 + gap) - gap
    assert paper.shape[0] == bottom and left > 0 and (paper[..., 3] == 255).all()
    for y in range(2):
        for x in range(3 - y):
            middle = paper[15 + gap + y * 65 + 30, left + gap + x * 65 + 30]
            assert middle.tolist() == [(50, 150, 250)[x], 0, 0, 255]
    missing = paper[15 + gap + 65 + 30, left + gap + 2 * 65 + 30]
    assert missing.tolist() == [*media.SOFT_PAPER, 255]
    assert (paper[:, : left - gap, :3] != media.SOFT_PAPER).any()  # the labels


def test_a_sheet_without_labels_is_only_pictures(frames: NDArray[np.uint8]) -> None:
    assert media.sheet([list(frames)], side=48).shape == (48 + 8, 8 * 52 + 4, 4)


def test_a_sheet_with_too_few_labels_is_a_mistake(frames: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="2 rows with 1 labels"):
        media.sheet([list(frames), list(frames)], ["one"])


def test_a_label_of_several_lines_takes_the_width_of_its_longest(
    frames: NDArray[np.uint8],
) -> None:
    widths = [
        media.sheet([list(frames)], [label]).shape[1]
        for label in ("a red rabbit", "a red rabbit\nwaving", "a red rabbit waving")
    ]
    assert widths[0] == widths[1] < widths[2]
