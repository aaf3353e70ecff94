"""The embedded sticker world -> the pictures of the docs: everyone, every motion, all of it moving.

python scripts/contact_sheet.py [FOLDER]     writes characters, motions and moving.webp

Drawn by Pillow, so the same versions of Pillow and its fonts give the same bytes.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from minuet.contracts.clip import FPS, FRAMES
from minuet.contracts.files import write_bytes
from minuet.stickers import world
from minuet.stickers.characters import CHARACTERS, DEFAULT_COLOR
from minuet.stickers.motions import MOTIONS, SIDED
from minuet.stickers.palette import STYLES

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "img"
MAX_BYTES = 400_000  # a picture of a README
PAPER, INK = (250, 247, 242), (84, 74, 92)
TINTS = (
    (255, 228, 220),
    (255, 240, 208),
    (224, 243, 222),
    (216, 238, 247),
    (230, 226, 250),
    (252, 224, 238),
)
GAP, MARGIN, LABEL, CORNER = 10, 26, 30, 22

# What a character wears and feels here; the others are bare and happy.
DRESSED = {
    "rabbit": ("flower", "happy"),
    "cat": ("bow", "joy"),
    "dog": ("none", "joy"),
    "bear": ("scarf", "happy"),
    "fox": ("headphones", "cool"),
    "frog": ("crown", "happy"),
    "mouse": ("balloon", "happy"),
    "koala": ("none", "sleepy"),
    "lion": ("none", "cool"),
    "chick": ("partyhat", "joy"),
    "penguin": ("tophat", "happy"),
    "owl": ("bow", "happy"),
    "strawberry": ("none", "love"),
    "apple": ("none", "surprised"),
    "egg": ("cup", "sleepy"),
    "cupcake": ("none", "love"),
    "icecream": ("none", "joy"),
    "pumpkin": ("none", "angry"),
    "star": ("trumpet", "joy"),
    "heart": ("none", "love"),
    "cloud": ("none", "sad"),
    "ghost": ("heart", "happy"),
    "sun": ("none", "cool"),
    "cactus": ("flower", "happy"),
    "robot": ("star", "happy"),
    "smiley": ("none", "joy"),
    "mug": ("none", "sleepy"),
    "moon": ("none", "sleepy"),
}
THINGS = {1: "gradient", 26: "outline", 15: "pastel"}  # seed: style, of no kind with a name
DANCERS = {
    "bounce": "rabbit",
    "jump": "frog",
    "wave": "fox",
    "spin": "star",
    "shake": "penguin",
    "pulse": "heart",
    "walk": "robot",
    "wobble": "cactus",
    "dance": "cat",
    "nod": "bear",
    "cheer": "chick",
    "blink": "owl",
}

Cell = tuple[Image.Image, str]  # a picture and the word under it


def main() -> None:
    """Draw and save all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    save(folder / "characters.webp", [page(list(everyone(164)), columns=9)])
    save(folder / "motions.webp", [page(list(strips(98)), columns=2)])
    clips = [dancer(motion, 164) for motion in MOTIONS]
    moving = [
        page([(clip[t], motion) for clip, motion in zip(clips, MOTIONS, strict=True)], columns=6)
        for t in range(FRAMES)
    ]
    save(folder / "moving.webp", moving)


def spec_of(character: str, motion: str, style: str, seed: int = 4) -> world.Spec:
    """A character as it is shown here, in its own colour."""
    accessory, expression = DRESSED.get(character, ("none", "happy"))
    if motion == "wave" and accessory in world.HELD:
        accessory = "none"
    return world.Spec(
        character=character,
        color=DEFAULT_COLOR[character],
        style=style,
        expression=expression,
        accessory=accessory,
        motion=motion,
        toward="right" if motion in SIDED else "",
        amplitude=1.0,
        seed=seed,
    )


def everyone(side: int) -> Iterator[Cell]:
    """Every character at rest, the four styles by turns; then three without a name."""
    for number, character in enumerate(CHARACTERS):
        spec = spec_of(character, "nod", STYLES[number % len(STYLES)])
        yield portrait(spec, side), character.replace("icecream", "ice cream")
    for seed, style in THINGS.items():
        yield portrait(world.thing(seed, "nod", "", 1.0, style), side), "a thing"


def portrait(spec: world.Spec, side: int) -> Image.Image:
    """A sticker at rest in the middle of its canvas, without the room in which it would move."""
    whole = picture(world.render_static(spec, side * 4 // 3, "pillow"))
    left, top, right, bottom = whole.getbbox() or (0, 0, side, side)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    return whole.crop((x, y, x + side, y + side))


def dancer(motion: str, side: int) -> list[Image.Image]:
    """The frames of a motion, by the character that shows it here."""
    style = STYLES[list(MOTIONS).index(motion) % 3]  # pastel is too pale where art is small
    spec = spec_of(DANCERS[motion], motion, style)
    return [picture(frame) for frame in world.render_clip(spec, side, "pillow").frames_THWC]


def strips(side: int) -> Iterator[Cell]:
    """Every motion as its eight frames in a row."""
    for motion in MOTIONS:
        strip = Image.new("RGBA", (FRAMES * side, side))
        for t, frame in enumerate(dancer(motion, side)):
            strip.alpha_composite(frame, (t * side, 0))
        yield strip, motion


def picture(frame_HWC: NDArray[np.uint8]) -> Image.Image:
    """Straight RGBA pixels as an image."""
    return Image.fromarray(np.ascontiguousarray(frame_HWC))


def page(cells: Sequence[Cell], columns: int) -> Image.Image:
    """Tinted cards in a grid on paper, a word under each."""
    width, height = cells[0][0].width + 2 * GAP, cells[0][0].height + GAP + LABEL
    rows = -(-len(cells) // columns)
    size = (
        2 * MARGIN + columns * width + (columns - 1) * GAP,
        2 * MARGIN + rows * height + (rows - 1) * GAP,
    )
    sheet = smooth(size, lambda pen, k: card(pen, (0, 0, *size), PAPER, 2 * CORNER, k))
    for number, (drawing, word) in enumerate(cells):
        row, column = divmod(number, columns)
        at = MARGIN + column * (width + GAP), MARGIN + row * (height + GAP)
        tint = TINTS[(column + 2 * row) % len(TINTS)]
        sheet.alpha_composite(tinted((width, height), tint), at)
        sheet.alpha_composite(drawing, (at[0] + GAP, at[1] + GAP // 2))
        middle = at[0] + width / 2, at[1] + height - LABEL / 2 - 2
        ImageDraw.Draw(sheet).text(middle, word, INK, ImageFont.load_default(17), anchor="mm")
    return sheet


@cache
def tinted(size: tuple[int, int], tint: tuple[int, int, int]) -> Image.Image:
    """One card without its sticker."""
    return smooth(size, lambda pen, k: card(pen, (0, 0, *size), tint, CORNER, k))


def card(
    pen: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    fill: tuple[int, int, int],
    corner: int,
    k: int,
) -> None:
    """A rounded rectangle on a canvas that is k times larger."""
    left, top, right, bottom = (k * edge for edge in box)
    pen.rounded_rectangle((left, top, right - 1, bottom - 1), k * corner, fill)


def smooth(size: tuple[int, int], draw: Callable[[ImageDraw.ImageDraw, int], None]) -> Image.Image:
    """What `draw` draws, four times as large and shrunk: soft edges."""
    large = Image.new("RGBA", (4 * size[0], 4 * size[1]))
    draw(ImageDraw.Draw(large), 4)
    return large.resize(size, Image.Resampling.LANCZOS)


def save(path: Path, frames: Sequence[Image.Image]) -> None:
    """One frame as a picture, more as an endless animation; too large is an error."""
    stream = BytesIO()
    more = {"append_images": frames[1:], "save_all": True, "duration": 1000 // FPS, "loop": 0}
    extra = more if len(frames) > 1 else {}
    frames[0].save(stream, "WEBP", quality=86, alpha_quality=90, method=6, **extra)
    data = stream.getvalue()
    if len(data) > MAX_BYTES:
        raise SystemExit(f"{path}: {len(data)} bytes; make the picture smaller.")
    write_bytes(path, data)
    print(f"{path}: {frames[0].width} x {frames[0].height} px, {len(data) / 1000:.0f} KB")


if __name__ == "__main__":
    main()
