"""Somebody's image file -> a sticker on a transparent square, with room to move."""

import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from minuet.contracts.errors import RequestError

# Shapes: H rows, W columns, 4 channels: red, green, blue, straight alpha; uint8.

Picture = NDArray[np.uint8]  # (H, W, 4)

MAX_FILE_BYTES = 100 << 20
MAX_PIXELS = 64_000_000  # larger than most cameras'; about 1 GB while it is converted
WORKING_SIDE = 1024  # nothing here needs more pixels than this on a side
# Only what people keep pictures in: some other readers of Pillow's start programs.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO", "PPM", "TGA", "QOI")

# An ICC profile's space -> the mode it is applied in, and those that may be made into it.
SPACES = {
    "GRAY": ("L", ("1", "L", "LA")),
    "RGB": ("RGB", ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")),
    "CMYK": ("CMYK", ("CMYK",)),
}

SEEN = 16  # alpha from which a pixel belongs to the sticker
# The embedded world's stickers take 0.55 to 0.73 of the canvas and sit a little low, since they
# jump; other pictures are laid out likewise.
SHARE, MIDDLE_Y = 0.7, 0.56
ROOMY = (0.5, 0.8)  # a picture that leaves this much room already keeps its own layout
FLAT = 14.0  # as far from the background's colour as a background may be, of 441


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """A sticker at rest, and what was done to it that its owner should know."""

    pixels: Picture
    notes: tuple[str, ...] = ()


def sticker(path: Path, size: int, *, keep_background: bool = False) -> Still:
    """An image file as a sticker of size x size pixels.

    A background of one flat colour is cut away where the file has no transparency.

    Raises:
        RequestError: not there, not a readable image, too large, or nothing is visible in it.
    """
    picture, notes = read(path)
    if is_opaque(picture) and not keep_background:
        picture, note = _without_background(picture)
        notes += note
    if not (picture[..., 3] >= SEEN).any():
        raise RequestError(f"{path}: the image is fully transparent; there is nothing to animate.")
    return Still(pixels=fit(picture, size), notes=notes)


def read(path: Path) -> tuple[Picture, tuple[str, ...]]:
    """RGBA pixels, upright, at most WORKING_SIDE a side, of any healthy image; and notes.

    Raises:
        RequestError: not there, not a readable image, or too large.
    """
    if not path.is_file():
        found = "not a file" if path.exists() else "no such image"
        raise RequestError(f"{path}: {found}; give the path of one image.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise RequestError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; make it smaller.")
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is bounded here, and odd metadata does not matter
            with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as file:
                return _read(file, path)
    except (RequestError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except Exception as error:  # decoders raise nearly everything when a file is broken
        raise RequestError(
            f"{path}: not an image that can be read ({_reason(error)}). "
            "PNG, JPEG, WebP, GIF, BMP, TIFF and AVIF are; save it anew as PNG."
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "broken, or of an unknown format"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


def _too_large(path: Path) -> RequestError:
    return RequestError(
        f"{path}: more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller."
    )


def _read(file: Image.Image, path: Path) -> tuple[Picture, tuple[str, ...]]:
    if file.width * file.height > MAX_PIXELS:
        raise _too_large(path)
    moves = bool(getattr(file, "is_animated", False)) and file.format != "MPO"
    file.seek(0)
    file.load()
    coloured, note = in_srgb(file)
    image = to_rgba(coloured)
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.LANCZOS)
    turned: Any = ImageOps.exif_transpose(_with_orientation(image, file))
    notes = ("the image is animated: its first frame is taken",) if moves else ()
    return np.asarray(turned, np.uint8), notes + note


def _with_orientation(image: Image.Image, file: Image.Image) -> Image.Image:
    """The converted image with the file's orientation, which is 1 where its EXIF is broken."""
    try:
        orientation = file.getexif().get(0x0112, 1)
    except Exception:
        return image
    if orientation in range(2, 9):
        image.getexif()[0x0112] = orientation
    return image


def in_srgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """The image in sRGB, where it holds an ICC profile that says what its numbers mean; notes.

    Without a profile numbers are sRGB, as in browsers; with one that cannot be used, too.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image, ()
    try:
        return _converted(image, profile), ()
    except Exception:  # a profile is a program of a kind, and has as many ways to be broken
        return image, ("its colour profile cannot be used: colours may look a little different",)


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    """Numbers of a profile's space -> RGBA in sRGB: white stays white, alpha as it is."""
    from PIL import ImageCms

    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    mode, fitting = SPACES[source.profile.xcolor_space.strip()]
    if image.mode not in fitting:
        raise ValueError(f"a profile for {mode} in an image of {image.mode}")
    converted = ImageCms.profileToProfile(
        image.convert(mode),
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # only where it works in place
    converted.putalpha(image.convert("RGBA").getchannel("A"))
    return converted


def to_rgba(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGBA: deep greys are scaled, and float ones are read as 0..1 or 0..255."""
    if image.mode.startswith("I"):
        return _grey(np.asarray(image).astype(np.float64) / 257)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, np.float64), posinf=255.0, neginf=0.0)
        return _grey(values * 255 if values.max(initial=0) <= 1 else values)
    if image.mode in ("LAB", "HSV", "YCbCr", "CMYK"):
        return image.convert("RGB").convert("RGBA")
    return image.convert("RGBA")


def _grey(values_HW: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.clip(values_HW.round(), 0, 255).astype(np.uint8)).convert("RGBA")


def is_opaque(picture: Picture) -> bool:
    """Whether no pixel is even half transparent."""
    return bool((picture[..., 3] >= 128).all())


def _without_background(picture: Picture) -> tuple[Picture, tuple[str, ...]]:
    cut = cut_out(picture)
    if cut is None:
        return picture, (
            "the image has no transparency: the whole rectangle will move; "
            "give a PNG whose background is transparent for a sticker",
        )
    return cut, ("its flat background was cut away; --keep-background leaves it",)


def cut_out(picture: Picture) -> Picture | None:
    """The picture without the flat colour that reaches it from its border.

    Edges become soft, and the background's colour is taken out of them. None where the border
    is not of one colour, or where too little or nearly everything would go.
    """
    rgb = picture[..., :3].astype(np.float32)
    border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]])
    colour = np.median(border, axis=0)
    far = np.sqrt(((rgb - colour) ** 2).sum(-1))
    if np.mean(np.sqrt(((border - colour) ** 2).sum(-1)) > FLAT) > 0.02:
        return None
    gone = reached(far <= FLAT)
    for _ in range(2):  # what compression leaves around an edge goes, too
        gone |= _spread(gone) & (far <= 3 * FLAT)
    if not 0.02 < gone.mean() < 0.995:
        return None
    # A pixel at the edge mixes the background with what is farthest from it close by.
    share = far / np.maximum(_spread(_spread(far)), 1)
    alpha = np.where(gone, 0, np.where(_spread(gone), share, 1))[..., None]
    clean = (rgb - (1 - alpha) * colour) / np.maximum(alpha, 1 / 255)
    both = np.concatenate([np.clip(clean, 0, 255), alpha * 255], -1)
    return np.asarray(both.round(), np.uint8)


def reached(open_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The open pixels that a walk in four directions reaches from the border."""
    found = np.zeros_like(open_HW)
    found[[0, -1]], found[:, [0, -1]] = open_HW[[0, -1]], open_HW[:, [0, -1]]
    before = -1
    while before != (before := int(found.sum())):
        for seen, free in ((found, open_HW), (found.T, open_HW.T)):
            for step in (1, -1):
                rows, ways = seen[::step], free[::step]
                for y in range(1, len(rows)):
                    rows[y] |= rows[y - 1] & ways[y]
    return found


def _spread(values_HW: NDArray[Any]) -> NDArray[Any]:
    """The largest of each pixel and its four neighbours."""
    wide = np.pad(values_HW, 1)
    beside = wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]
    return np.asarray(np.maximum.reduce([values_HW, *beside]))


def fit(picture: Picture, size: int) -> Picture:
    """The picture on a transparent square of size pixels, its shape kept, with room to move.

    What is visible is centred and fills SHARE of the canvas. A square picture that leaves enough
    room already is only resized, so a sticker of the right size passes through unchanged.
    """
    height, width = picture.shape[:2]
    left, top, right, bottom = visible(picture)
    share = max(right - left, bottom - top) / width
    if height == width and ROOMY[0] <= share <= ROOMY[1]:
        return resized(picture, size, size)
    content = picture[top:bottom, left:right]
    scale = SHARE * size / max(content.shape[:2])
    rows, columns = (max(1, round(side * scale)) for side in content.shape[:2])
    y, x = round(MIDDLE_Y * size - rows / 2), round((size - columns) / 2)
    canvas = np.zeros((size, size, 4), np.uint8)
    canvas[y : y + rows, x : x + columns] = resized(content, columns, rows)
    return canvas


def visible(picture: Picture) -> tuple[int, int, int, int]:
    """Left, top, right and bottom (both past the end) of what can be seen."""
    seen = picture[..., 3] >= SEEN
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def resized(picture: Picture, width: int, height: int) -> Picture:
    """Lanczos on premultiplied alpha (Pillow's way with RGBA); the same size: unchanged."""
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS), np.uint8)
