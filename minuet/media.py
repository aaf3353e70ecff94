"""Frames -> an animation file that plays anywhere, or a contact sheet that a person looks at."""

import importlib.util
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from minuet.contracts.clip import FPS
from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.contracts.files import write_bytes

# Shapes: T frames, H rows, W columns, 4 channels: red, green, blue, straight alpha; uint8.

Frames = NDArray[np.uint8]  # (T, H, W, 4)
Picture = NDArray[np.uint8]  # (H, W, 4)
Color = tuple[int, int, int]

SAMPLED = 20_000  # pixels that a palette is made from: of a photo's 500 000 it took minutes
VIDEO_LOOPS = 4  # a video cannot say that it loops, and one second is over before it is seen
OPAQUE = 128  # alpha from which a pixel of a GIF is drawn
SOFT_PAPER = (244, 240, 234)
INK = (70, 64, 58)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A file format: how it is made, and what it can do."""

    name: str
    encode: Callable[[Frames, int], bytes]
    alpha: bool = True


def write_animation(
    path: Path, frames_THWC: Frames, *, fps: int = FPS, background: Color | None = None
) -> Kind:
    """Write frames as what the suffix says, looping for ever; whole or not at all.

    WebP and APNG keep every pixel as it is, GIF has 255 colours and hard edges, MP4 (H.264) is
    flattened and repeated VIDEO_LOOPS times. With a background every kind is flattened over it.
    Frames that are equal to the one before may be stored as one that is shown longer. The same
    frames give the same bytes.

    Raises:
        RequestError: no such kind, a video that is too small, or the disk is full.
        MissingBackendError: MP4 without PyAV.
    """
    kind = kind_of(path)
    frames = frames_THWC
    if background is not None or not kind.alpha:
        frames = flattened(frames, background or (255, 255, 255))
    write_bytes(path, kind.encode(frames, fps))
    return kind


def kind_of(path: Path) -> Kind:
    """The kind that a file name asks for, if it can be made here.

    Raises:
        RequestError: no kind has this suffix, or the path is a folder.
        MissingBackendError: MP4 without PyAV.
    """
    suffix = path.suffix.lower()
    if suffix not in KINDS:
        raise RequestError(
            f"{path}: {suffix or 'no suffix'} is not an animation that can be written; "
            f"choose {', '.join(KINDS)}."
        )
    if path.is_dir():
        raise RequestError(f"{path}: a folder is there; choose another name.")
    if suffix == ".mp4" and importlib.util.find_spec("av") is None:
        raise MissingBackendError(
            f"{path}: MP4 needs PyAV, which is not installed: pip install 'minuet[video]' brings "
            "it; .webp, .gif and .png need nothing."
        )
    return KINDS[suffix]


def colour(text: str) -> Color:
    """A colour by its name or as #rrggbb.

    Raises:
        RequestError: not a colour.
    """
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise RequestError(
            f"{text!r} is not a colour; write a name such as white, or #ffe4c4."
        ) from error
    return red, green, blue


def flattened(frames: NDArray[np.uint8], background: Color) -> NDArray[np.uint8]:
    """Straight-alpha pixels (..., 4) over a colour: opaque ones."""
    alpha = frames[..., 3:].astype(np.float32) / 255
    over = frames[..., :3] * alpha + np.array(background, np.float32) * (1 - alpha)
    opaque = np.full(alpha.shape, 255, np.float32)
    return np.asarray(np.concatenate([over.round(), opaque], -1), np.uint8)


def durations(count: int, fps: int, unit_ms: int) -> list[int]:
    """Milliseconds of each frame in a format's units; rounding never adds up."""
    marks = [round(Fraction(1000 * at, fps * unit_ms)) for at in range(count + 1)]
    return [(after - mark) * unit_ms for mark, after in itertools.pairwise(marks)]


def _images(frames: NDArray[np.uint8]) -> list[Image.Image]:
    return [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]


def _save(images: list[Image.Image], format: str, durations_ms: list[int], **more: Any) -> bytes:
    stream = BytesIO()
    first, *rest = images
    first.save(
        stream,
        format,
        save_all=True,
        append_images=rest,
        duration=durations_ms,
        loop=0,
        **more,
    )
    return stream.getvalue()


def webp(frames: Frames, fps: int = FPS, **how: Any) -> bytes:
    """An endless animated WebP; how: Pillow's options of the format, such as lossless."""
    return _save(_images(frames), "WEBP", durations(len(frames), fps, 1), **how)


def _webp(frames: Frames, fps: int) -> bytes:
    # Slower methods take ten times as long here and save two per cent.
    return webp(frames, fps, lossless=True, method=1, quality=50)


def _apng(frames: Frames, fps: int) -> bytes:
    replace = {"disposal": 0, "blend": 0}  # each frame takes the place of the one before
    return _save(_images(frames), "PNG", durations(len(frames), fps, 1), **replace)


def _gif(frames: Frames, fps: int) -> bytes:
    """One palette for all frames, so that still parts do not flicker; its last entry is clear."""
    drawn = frames[..., 3] >= OPAQUE
    seen = frames[drawn][None, :, :3] if drawn.any() else np.zeros((1, 1, 3), np.uint8)
    seen = seen[:, :: -(-seen.shape[1] // SAMPLED)]
    palette = Image.fromarray(_in_rows(seen)).quantize(
        255, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE
    )
    colours = palette.getpalette() or []
    table = [*(colours + [0] * 768)[:765], 0, 0, 0]
    images = []
    for frame, mask in zip(frames, drawn, strict=True):
        plain = Image.fromarray(np.ascontiguousarray(frame[..., :3]))
        indices = np.asarray(plain.quantize(palette=palette, dither=Image.Dither.NONE))
        image = Image.fromarray(np.where(mask, np.minimum(indices, 254), 255).astype(np.uint8))
        image.putpalette(table)
        images.append(image)
    more = {"transparency": 255, "disposal": 2, "optimize": False}
    return _save(images, "GIF", durations(len(frames), fps, 10), **more)


def _in_rows(pixels_1NC: NDArray[np.uint8], width: int = 1024) -> NDArray[np.uint8]:
    """A line of pixels as an image that is not too wide; the last one fills the end."""
    count = pixels_1NC.shape[1]
    rows = -(-count // width)
    filled = np.pad(pixels_1NC[0], ((0, rows * width - count), (0, 0)), "edge")
    return np.ascontiguousarray(filled.reshape(rows, width, 3))


def _mp4(frames: Frames, fps: int) -> bytes:
    import av

    height, width = (side - side % 2 for side in frames.shape[1:3])  # H.264 halves the colours
    if not height or not width:
        raise RequestError("a video is at least 2 px wide and high; ask for a larger --size.")
    stream = BytesIO()
    # bitexact: else the hour of writing stands in the file.
    with av.open(stream, "w", format="mp4", options={"fflags": "+bitexact"}) as video:
        track: Any = video.add_stream("libx264", rate=fps)
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        track.options = {"crf": "14", "preset": "medium", "threads": "1"}
        for frame in list(frames) * VIDEO_LOOPS:
            rgb = np.ascontiguousarray(frame[:height, :width, :3])
            # The encoder's own conversion leaves chance behind the edges: one run in ten differed.
            whole = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
            video.mux(track.encode(av.VideoFrame.from_ndarray(whole.to_ndarray(), "yuv420p")))
        video.mux(track.encode())
    return stream.getvalue()


KINDS = {
    ".webp": Kind(name="WebP", encode=_webp),
    ".gif": Kind(name="GIF", encode=_gif),
    ".png": Kind(name="APNG", encode=_apng),
    ".apng": Kind(name="APNG", encode=_apng),
    ".mp4": Kind(name="MP4", encode=_mp4, alpha=False),
}


def sheet(
    rows: Sequence[Sequence[Picture]],
    labels: Sequence[str] = (),
    *,
    columns: Sequence[str] = (),
    side: int = 128,
    background: Color = SOFT_PAPER,
) -> Picture:
    """A contact sheet: a row of pictures each, on a soft background, opaque RGBA.

    labels stand left of the rows, in one line or several, and columns above them; either may be
    empty. Pictures are resized to side x side pixels. An animated sheet is a sheet of every frame,
    stacked: `write_animation`.
    """
    if (labels and len(labels) != len(rows)) or not any(len(row) for row in rows):
        raise ValueError(f"{len(rows)} rows with {len(labels)} labels")
    font = ImageFont.load_default(max(13, side // 8))
    lines = [line for label in labels for line in label.splitlines()]
    gap, text = side // 12, max((font.getlength(line) for line in lines), default=0)
    left, top = round(text) + 2 * gap * bool(labels), (side // 4) * bool(columns)
    wide = max(len(row) for row in rows)
    size = left + wide * (side + gap) + gap, top + len(rows) * (side + gap) + gap
    paper = Image.new("RGBA", size, (*background, 255))
    pen = ImageDraw.Draw(paper)
    for at, label in enumerate(labels):
        pen.text((gap, top + gap + at * (side + gap) + side // 2), label, INK, font, anchor="lm")
    for at, label in enumerate(columns):
        pen.text((left + gap + at * (side + gap) + side // 2, gap), label, INK, font, anchor="mt")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            image = Image.fromarray(np.ascontiguousarray(picture)).convert("RGBA")
            image = image.resize((side, side), Image.Resampling.LANCZOS)
            where = left + gap + x * (side + gap), top + gap + y * (side + gap)
            paper.alpha_composite(image, where)
    return np.asarray(paper, np.uint8)
