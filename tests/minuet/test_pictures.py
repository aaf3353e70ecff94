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


# --- colour profiles -------------------------------------------------------------------------
# A profile's columns are its red, green and blue in XYZ, seen under D50 (ICC.1:2022, 8.3.2).

Matrix = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.7141]]
)
WIDE = {
    "Display P3": np.array(
        [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
    ),
    "Adobe RGB": np.array(
        [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
    ),
}
GAMMA = 563 / 256  # Adobe RGB (1998), 4.3.1.2; here of both


def profile(columns: Matrix, space: bytes = b"RGB ") -> bytes:
    """A matrix profile as ICC.1:2022 has it: a header, a table of tags, and the tags."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    def xyz(column: Matrix) -> bytes:
        return b"XYZ " + bytes(4) + fixed(*column)

    text = "made for a test".encode("utf-16-be")
    words = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(GAMMA * 256))
    white = xyz(np.array([0.9642, 1.0, 0.8249]))
    tags = {b"desc": words, b"cprt": words, b"wtpt": white}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for at, name in enumerate((b"r", b"g", b"b")):
            tags |= {name + b"XYZ": xyz(columns[:, at]), name + b"TRC": curve}
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x04300000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


def by_hand(rgb: Matrix, columns: Matrix) -> Matrix:
    """The same colours in sRGB (IEC 61966-2-1), 0..255, clipped to what sRGB can show."""
    seen = (rgb / 255) ** GAMMA @ columns.T
    linear = np.clip(seen @ np.linalg.inv(SRGB).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def colours(count: int = 4000) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(3).integers(0, 256, (1, count, 3), dtype=np.uint8)


@pytest.mark.parametrize("space", WIDE)
@pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
def test_wide_colours_become_srgb_as_the_standards_say(
    tmp_path: Path, space: str, kind: str
) -> None:
    rgb = colours(900)  # short of WORKING_SIDE: nothing is resized
    icc = profile(WIDE[space])
    path = saved(tmp_path, Image.fromarray(rgb), f"in.{kind}", icc_profile=icc, lossless=True)
    picture, notes = pictures.read(path)
    wanted = by_hand(rgb.astype(float), WIDE[space])
    assert notes == ()
    assert np.abs(picture[..., :3] - wanted).max() < 1.6
    assert np.abs(rgb - wanted).max() > 40  # a profile that is not looked at is far away


def test_a_jpeg_with_a_wide_profile_is_converted_too(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 64), (60, 200, 90))
    path = saved(tmp_path, image, "in.jpg", icc_profile=profile(WIDE["Display P3"]), quality=95)
    picture, _ = pictures.read(path)
    wanted = by_hand(np.array([60.0, 200.0, 90.0]), WIDE["Display P3"])
    assert np.abs(picture[32, 32, :3] - wanted).max() < 4


def test_alpha_is_no_colour(tmp_path: Path) -> None:
    image = disc()
    icc = profile(WIDE["Adobe RGB"])
    picture, _ = pictures.read(saved(tmp_path, image, icc_profile=icc))
    assert np.array_equal(picture[..., 3], np.asarray(image)[..., 3])
    assert np.abs(picture[..., :3].astype(int) - np.asarray(image)[..., :3]).max() > 5


def test_a_palette_and_a_grey_image_follow_their_profiles(tmp_path: Path) -> None:
    flat = Image.new("RGB", (20, 20), (60, 200, 90)).quantize(4)
    icc = profile(WIDE["Display P3"])
    picture, notes = pictures.read(saved(tmp_path, flat, icc_profile=icc))
    wanted = by_hand(np.array([60.0, 200.0, 90.0]), WIDE["Display P3"])
    assert np.abs(picture[5, 5, :3] - wanted).max() < 1.6 and notes == ()
    ramp = np.arange(256, dtype=np.uint8)[None]
    icc = profile(SRGB, b"GRAY")
    picture, notes = pictures.read(saved(tmp_path, Image.fromarray(ramp), icc_profile=icc))
    wanted = by_hand(ramp[0, :, None].repeat(3, 1).astype(float), SRGB)
    assert np.abs(picture[0, :, :3] - wanted).max() < 1.6 and notes == ()


def test_numbers_that_are_srgb_already_stay(tmp_path: Path) -> None:
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = colours(900)
    picture, notes = pictures.read(saved(tmp_path, Image.fromarray(rgb), icc_profile=icc))
    assert np.array_equal(picture[..., :3], rgb) and notes == ()


WRONG_PROFILES = {
    "half of one": profile(WIDE["Adobe RGB"])[:200],
    "noise": bytes(range(256)) * 4,
    "one for grey": profile(SRGB, b"GRAY"),
    "one for another space": profile(SRGB, b"HSV "),
    "nothing but a header": profile(SRGB)[:128] + bytes(4),
}


@pytest.mark.parametrize("what", WRONG_PROFILES)
def test_a_profile_that_cannot_be_used_is_left_out_with_a_note(tmp_path: Path, what: str) -> None:
    rgb = colours(64)
    path = saved(tmp_path, Image.fromarray(rgb), icc_profile=WRONG_PROFILES[what])
    picture, notes = pictures.read(path)
    assert np.array_equal(picture[..., :3], rgb)
    assert notes == ("its colour profile cannot be used: colours may look a little different",)


def test_damaged_profiles_never_show_a_traceback(tmp_path: Path) -> None:
    rng, whole = np.random.default_rng(4), profile(WIDE["Display P3"])
    image = Image.fromarray(colours(64))
    for _ in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(0, data.size, 4)] = rng.integers(0, 256, 4)
        picture, _ = pictures.read(saved(tmp_path, image, icc_profile=data.tobytes()))
        assert picture.shape == (1, 64, 4)


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
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(RequestError, match="give the path of one image"):
            pictures.read(path)


def test_an_invisible_image_has_nothing_to_animate(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="fully transparent"):
        pictures.sticker(saved(tmp_path, Image.new("RGBA", (50, 50))), SIZE)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    with path.open("wb") as stream:
        stream.truncate(pictures.MAX_FILE_BYTES + 1)
    with pytest.raises(RequestError, match="larger than"):
        pictures.read(path)
