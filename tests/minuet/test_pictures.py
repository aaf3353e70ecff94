"""Any healthy image becomes a sticker with room to move; a sick one becomes one clear message."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minuet import pictures
from minuet.contracts.errors import RequestError

SIZE = 128


def disc(size: int = 100, radius: float = 0.4) -> Image.Image:
    """A blue-green disc with a soft edge on transparency."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5 + 0.5 / size
    alpha = np.clip((radius - np.hypot(x, y)) * size + 0.5, 0, 1)
    planes = np.stack([np.full_like(x, 40), 60 + 100 * (y + 0.5), 150 + 0 * x, alpha * 255], -1)
    return Image.fromarray(planes.round().astype(np.uint8))


def saved(folder: Path, image: Image.Image, name: str = "in.png", **more: object) -> Path:
    image.save(folder / name, **more)  # type: ignore[arg-type]
    return folder / name


def on_white(image: Image.Image) -> Image.Image:
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image)
    return paper.convert("RGB")


def extent(picture: pictures.Picture) -> tuple[float, float]:
    left, top, right, bottom = pictures.visible(picture)
    return (right - left) / len(picture), (bottom - top) / len(picture)


MODES: dict[str, Callable[[Image.Image], tuple[Image.Image, str]]] = {
    "RGBA": lambda image: (image, "in.png"),
    "RGB": lambda image: (on_white(image), "in.png"),
    "RGB jpeg": lambda image: (on_white(image), "in.jpg"),
    "RGB bmp": lambda image: (on_white(image), "in.bmp"),
    "P": lambda image: (on_white(image).quantize(16), "in.png"),
    "P with alpha": lambda image: (image.quantize(16), "in.png"),
    "L": lambda image: (on_white(image).convert("L"), "in.png"),
    "LA": lambda image: (image.convert("LA"), "in.png"),
    "1": lambda image: (on_white(image).convert("1", dither=Image.Dither.NONE), "in.png"),
    "CMYK": lambda image: (on_white(image).convert("CMYK"), "in.jpg"),
    "CMYK tiff": lambda image: (on_white(image).convert("CMYK"), "in.tiff"),
    "YCbCr": lambda image: (on_white(image).convert("YCbCr"), "in.jpg"),
    "16 bits": lambda image: (deep(on_white(image)), "in.png"),
    "float": lambda image: (Image.fromarray(grey(image) / np.float32(255)), "in.tiff"),
    "webp": lambda image: (image, "in.webp"),
    "gif": lambda image: (image, "in.gif"),
    "ico": lambda image: (image, "in.ico"),
}


def grey(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(on_white(image).convert("L"), np.float32)


def deep(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


@pytest.mark.parametrize("mode", MODES)
def test_any_healthy_mode_shows_the_disc(tmp_path: Path, mode: str) -> None:
    image, name = MODES[mode](disc(100, 0.3))
    still = pictures.sticker(saved(tmp_path, image, name), SIZE)
    assert still.pixels.shape == (SIZE, SIZE, 4) and still.pixels.dtype == np.uint8
    assert still.pixels[0, 0, 3] == 0
    assert still.pixels[SIZE // 2, SIZE // 2, 3] >= 254
    assert extent(still.pixels) == pytest.approx((0.65, 0.65), abs=0.07)


def test_deep_grey_keeps_its_brightness(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(64, 0)
    picture, _ = pictures.read(saved(tmp_path, Image.fromarray(values)))
    assert np.abs(picture[0, :, 0] - values[0] / 257).max() <= 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 2), (37, 901), (2500, 2500)])
def test_any_healthy_size_keeps_its_shape(tmp_path: Path, size: tuple[int, int]) -> None:
    image = Image.new("RGBA", size, (200, 30, 40, 255))
    still = pictures.sticker(saved(tmp_path, image), SIZE, keep_background=True)
    wide, high = extent(still.pixels)
    assert max(wide, high) == pytest.approx(pictures.SHARE, abs=1.5 / SIZE)
    wanted = max(size[0] / size[1], 1 / (pictures.SHARE * SIZE))
    if size[0] < size[1]:
        assert wide / high == pytest.approx(wanted, abs=0.03)


def test_content_is_centred_with_room_to_move(tmp_path: Path) -> None:
    corner = Image.new("RGBA", (300, 200))
    corner.paste(disc(80), (220, 0))
    still = pictures.sticker(saved(tmp_path, corner), SIZE).pixels
    left, top, right, bottom = pictures.visible(still)
    assert left + right == pytest.approx(SIZE, abs=2)
    assert (top + bottom) / 2 == pytest.approx(pictures.MIDDLE_Y * SIZE, abs=2)
    assert extent(still) == pytest.approx((0.7, 0.7), abs=0.02)


def test_a_sticker_that_has_room_passes_through_unchanged(tmp_path: Path) -> None:
    image = disc(SIZE, 0.3)
    still = pictures.sticker(saved(tmp_path, image), SIZE)
    assert np.array_equal(still.pixels, np.asarray(image)) and still.notes == ()


def test_hidden_colours_do_not_bleed_into_the_edge(tmp_path: Path) -> None:
    pixels = np.zeros((200, 200, 4), np.uint8)
    pixels[..., 0] = 255  # bright red where nothing is seen
    pixels[50:150, 50:150] = (0, 0, 255, 255)
    still = pictures.sticker(saved(tmp_path, Image.fromarray(pixels)), 100).pixels
    assert still[still[..., 3] > 8][:, 0].max() <= 8


def test_exif_turns_the_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 40), "red")
    image.paste("blue", (0, 0, 60, 20))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise shows it
    picture, _ = pictures.read(saved(tmp_path, image, "in.jpg", exif=exif, quality=95))
    assert picture.shape[:2] == (60, 40)
    assert picture[30, 35, 2] > 200 and picture[30, 5, 0] > 200


def test_an_animated_image_gives_its_first_frame_and_says_so(tmp_path: Path) -> None:
    first, second = disc(100, 0.3), Image.new("RGBA", (100, 100), "red")
    path = saved(tmp_path, first, "in.webp", save_all=True, append_images=[second], lossless=True)
    still = pictures.sticker(path, 100)
    assert any("first frame" in note for note in still.notes)
    assert still.pixels[50, 50].tolist() == list(first.getpixel((50, 50)))  # type: ignore[arg-type]


def test_a_flat_background_is_cut_away_with_a_soft_clean_edge(tmp_path: Path) -> None:
    path = saved(tmp_path, on_white(disc(200, 0.3)))
    still = pictures.sticker(path, 200)
    assert any("--keep-background" in note for note in still.notes)
    wanted = np.asarray(disc(200, 0.3))
    assert np.abs(still.pixels[..., 3].astype(int) - wanted[..., 3]).mean() < 2
    solid = still.pixels[..., 3] > 128
    assert still.pixels[solid][:, 0].max() < 110  # no white fringe on a disc whose red is 40


def test_what_jpeg_leaves_around_an_edge_goes_with_the_background(tmp_path: Path) -> None:
    image = Image.new("RGB", (200, 200), "white")
    image.paste("black", (13, 9, 191, 187))
    still = pictures.sticker(saved(tmp_path, image, "in.jpg", quality=60), 200)
    left, top, right, bottom = pictures.visible(still.pixels)
    assert (still.pixels[top:bottom, left:right, 3] > 128).mean() > 0.95
    assert still.pixels[..., 3].mean() / 255 == pytest.approx(0.7**2, abs=0.03)


def test_what_the_background_does_not_reach_stays(tmp_path: Path) -> None:
    image = disc(100, 0.4)
    image.paste((255, 255, 255, 255), (45, 45, 55, 55))  # an eye, white as the paper
    still = pictures.sticker(saved(tmp_path, on_white(image)), 100).pixels
    assert still[SIZE // 2 - 8, 50, 3] == 255


def test_a_kept_background_stays(tmp_path: Path) -> None:
    path = saved(tmp_path, on_white(disc(100, 0.3)))
    still = pictures.sticker(path, SIZE, keep_background=True)
    assert extent(still.pixels) == pytest.approx((0.7, 0.7), abs=0.01)
    assert still.pixels[pictures.visible(still.pixels)[1] + 3, SIZE // 2].tolist() == [255] * 4


def test_a_photo_keeps_its_rectangle_with_a_warning(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    still = pictures.sticker(saved(tmp_path, Image.fromarray(noise)), SIZE)
    assert any("no transparency" in note for note in still.notes)
    wide, high = extent(still.pixels)
    assert (wide, high) == pytest.approx((0.7, 0.7 * 60 / 90), abs=0.02)


def test_one_colour_all_over_is_not_cut_away(tmp_path: Path) -> None:
    still = pictures.sticker(saved(tmp_path, Image.new("RGB", (50, 50), "white")), SIZE)
    assert extent(still.pixels) == pytest.approx((0.7, 0.7), abs=0.02)


def test_the_walk_reaches_round_corners_and_not_through_walls() -> None:
    maze = np.array([list(row) for row in ("#######", "#.....#", "#.###.#", "#.#...#", "#.#####")])
    maze = np.concatenate([maze, [list("..#....")], [list("###.###")]])
    open_HW = maze == "."
    found = pictures.reached(open_HW)
    assert found.sum() == open_HW.sum()  # every passage is joined to the border
    assert not pictures.reached(np.pad(np.pad(open_HW, 1), 1)).any()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that claims a size and holds whatever it likes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    )


def encoded(kind: str, cut: float = 1.0) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind)
    data = stream.getvalue()
    return data[: int(len(data) * cut)]


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not an image"),
    "text": (b"#!/bin/sh\necho hello\n", "not an image"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "zeros": (bytes(4096), "not an image"),
    "png header alone": (png(40, 40)[:33], "not an image"),
    "png without pixels": (png(40, 40), "not an image"),
    "png bomb": (png(50_000, 50_000), "million pixels"),
    "png of 81 million pixels": (png(9_000, 9_000), "million pixels"),
    "png of negative size": (png(0xFFFFFFFF, 0xFFFFFFFF), "million pixels|not an image"),
    "half a png": (encoded("PNG", 0.5), "not an image"),
    "half a jpeg": (encoded("JPEG", 0.5), "not an image"),
    "half a webp": (encoded("WEBP", 0.5), "not an image"),
    "half a gif": (encoded("GIF", 0.5), "not an image"),
    "half a tiff": (encoded("TIFF", 0.5), "not an image"),
    "gif of no size": (b"GIF89a\0\0\0\0\0\0\0;", "not an image"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_sick_file_is_one_clear_message(tmp_path: Path, name: str) -> None:
    data, what = HOSTILE[name]
    path = tmp_path / "in.png"
    path.write_bytes(data)
    with pytest.raises(RequestError, match=what) as caught:
        pictures.sticker(path, SIZE)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_bytes_never_show_a_traceback(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(2), tmp_path / "in.bin"
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
        whole = encoded(kind)
        for _ in range(25):
            data = np.frombuffer(whole, np.uint8).copy()
            at = rng.integers(0, min(400, data.size), 6)
            data[at] = rng.integers(0, 256, 6)
            path.write_bytes(data.tobytes())
            try:
                assert pictures.sticker(path, 32).pixels.shape == (32, 32, 4)
            except RequestError as error:
                assert "\n" not in str(error)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such image"):
        pictures.read(tmp_path / "none.png")
    with pytest.raises(RequestError, match="not a file"):
        pictures.read(tmp_path)


def test_an_invisible_image_has_nothing_to_animate(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="fully transparent"):
        pictures.sticker(saved(tmp_path, Image.new("RGBA", (50, 50))), SIZE)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    with path.open("wb") as stream:
        stream.truncate(pictures.MAX_FILE_BYTES + 1)
    with pytest.raises(RequestError, match="larger than"):
        pictures.read(path)
