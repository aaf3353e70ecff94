"""What runs drew -> stickers that play on the page, and can be held still."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from minuet.benchmarks.page_html import NOTHING, Html, Part, part, tag

STILL_QUALITY = 85


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A sticker that plays on the page."""

    title: str
    webp: bytes
    size: int  # pixels a side


def stickers(sheets: Sequence[Sheet]) -> Part:
    """Stickers that play, and can be held still: by their owner's wish, or by a tick."""
    if not sheets:
        return NOTHING
    held = tag("label", tag("input", type="checkbox", id="held"), " Hold them still", class_="held")
    figures = tag("div", [_figure(sheet) for sheet in sheets], class_="stickers")
    return part("What it draws", held, figures)


def _figure(sheet: Sheet) -> Html:
    moving = _image(sheet, sheet.webp, "moves")
    still = _image(sheet, first_frame(sheet.webp), "still")
    return tag("figure", moving, still, tag("figcaption", sheet.title))


def _image(sheet: Sheet, webp: bytes, kind: str) -> Html:
    return tag(
        "img",
        width=sheet.size,
        height=sheet.size,
        alt=f"The sticker that {sheet.title} drew",
        class_=kind,
        src=Html(f"data:image/webp;base64,{base64.b64encode(webp).decode()}"),
    )


def first_frame(webp: bytes) -> bytes:
    """A WebP of the first frame alone; what cannot be read stays what it is."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(webp), formats=["WEBP"]) as image:
            kept = io.BytesIO()
            image.convert("RGBA").save(kept, "WEBP", quality=STILL_QUALITY)
    except (UnidentifiedImageError, OSError, ValueError):
        return webp
    return kept.getvalue()
