"""A caption, and a bundle, an image and a seed if you like, become a moving sticker."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from minuet.commands.common import Json, Out, Seed, Threads
from minuet.contracts.clip import FPS
from minuet.contracts.errors import RequestError

PATIENCE_MS = 1000.0  # a program slower than this is not run again to be timed warm

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="CAPTION",
        help="what it shows and does, in quotes; a bundle's folder may stand before it",
        show_default=False,
    ),
]
Picture = Annotated[Path | None, typer.Option(help="your own sticker; else one is drawn")]
Target = Annotated[
    Path | None,
    typer.Option("-o", "--out", help=".webp, .gif, .png (APNG) or .mp4; else named by the caption"),
]
Runtime = Annotated[str, typer.Option(help="what runs it: ort, openvino, executorch, ...")]
Precision = Annotated[str, typer.Option(help="fp32, fp16 or int8; else the most exact one")]
Size = Annotated[int, typer.Option(help="side of the animation; 0: as the bundle", min=0, max=2048)]
Background = Annotated[str, typer.Option(help="a colour behind the sticker; else transparent")]
KeepBackground = Annotated[
    bool, typer.Option("--keep-background", help="do not cut away an image's flat background")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """Frames, and how long they took."""

    frames_THWC: NDArray[np.uint8]
    load_ms: float
    first_ms: float
    warm_ms: float | None


def animate(
    words: Words,
    image: Picture = None,
    out: Target = None,
    seed: Seed = 0,
    size: Size = 0,
    background: Background = "",
    keep_background: KeepBackground = False,
    runtime: Runtime = "ort",
    precision: Precision = "",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Make a sticker move as a caption says; the same words and seed make the same file."""
    from minuet import media
    from minuet.player import open_player, script

    say = Out(json=json)
    bundle, caption = bundle_and_caption(words)
    told = script(caption, seed)
    path = out or Path(f"{slug(told.caption)}.webp")
    kind = media.kind_of(path)
    behind = media.colour(background) if background else None
    if image is not None and same_file(path, image):
        raise RequestError(f"{path}: that is the image itself; choose another name with -o.")
    with open_player(
        bundle or shipped(), runtime=runtime, precision=precision, threads=threads
    ) as player:
        explain(told, say, drawn=image is None)
        still = still_of(told, image, player.size, keep_background, say)
        played = play(player, still, told.caption, seed)
    frames = scaled(played.frames_THWC, size or player.size)
    media.write_animation(path, frames, background=behind)
    value = summary(path, kind, told, player, played, frames) | {"seed": seed}
    say.finish(value, line(value))


def bundle_and_caption(words: list[str]) -> tuple[Path | None, str]:
    """One argument is a caption, two are a bundle and a caption.

    Raises:
        RequestError: more, a folder alone, or two words of which the first is no folder.
    """
    if len(words) > 2:
        raise RequestError(
            f'put the caption in quotes: minuet animate "{" ".join(words)[:80]}" '
            "(a bundle's folder may stand before it)."
        )
    if len(words) == 2 and not Path(words[0]).is_dir():
        raise RequestError(
            f"{words[0]}: no bundle is there. If it belongs to the caption, put the caption in "
            f'quotes: minuet animate "{" ".join(words)[:80]}"; else `minuet export` makes a bundle.'
        )
    if len(words) == 2:
        return Path(words[0]), words[1]
    if len(words[0]) < 256 and (Path(words[0]) / "manifest.json").is_file():
        raise RequestError(f'{words[0]}: what should it animate? Add "a red rabbit waving".')
    return None, words[0]


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file; what is not there, or a loop of links, is none."""
    return one.exists() and other.exists() and one.samefile(other)


def shipped() -> Path:
    """The bundle that comes with the package.

    Raises:
        RequestError: it did not.
    """
    from minuet.shipped import folder

    found = folder() / "bundle"
    if not found.is_dir():
        raise RequestError(
            f"{found}: this installation has no default bundle; make one with `minuet demo` or "
            '`minuet export`, and name it: minuet animate bundle/ "a red rabbit waving".'
        )
    return found


def explain(told: Any, out: Out, *, drawn: bool) -> None:
    """Say what was not understood and what was chosen."""
    from minuet.player import NAMED, nearest

    if told.unknown:
        close = [f"{w} ({near}?)" if (near := nearest(w)) else w for w in told.unknown[:NAMED]]
        more = "" if len(told.unknown) <= NAMED else f" and {len(told.unknown) - NAMED} more"
        out.warn(f"words that are not known and were left out: {', '.join(close)}{more}")
    if told.unread:
        out.warn(f"the caption is too long; left out from {told.unread[0]!r} on")
    if told.second:
        out.warn(f"one motion and one character at a time; left out: {', '.join(told.second)}")
    if drawn and told.drawn_who:
        out.say(f"no character was named: the seed chose a {told.spec.character}")
    if told.fitted:
        out.say(f"no motion was named: one that fits is {told.fitted}")
    if told.added:
        out.say(f'left open and chosen by the seed: "{told.added}"')


def still_of(
    told: Any, image: Path | None, size: int, keep_background: bool, out: Out
) -> NDArray[np.uint8]:
    """The sticker at rest: one's own, or drawn by the sticker world."""
    from minuet import pictures
    from minuet.stickers.render import SIZES
    from minuet.stickers.world import render_static

    if image is None:
        low, high = SIZES
        # Pillow everywhere, though Skia is faster: the same words give the same file.
        drawn = render_static(told.spec, min(max(size, low), high), backend="pillow")
        return pictures.resized(drawn, size, size)
    still = pictures.sticker(image, size, keep_background=keep_background)
    for note in still.notes:
        out.warn(f"{image}: {note}")
    return still.pixels


def play(player: Any, still: NDArray[np.uint8], caption: str, seed: int) -> Played:
    """Run the program; if it is quick, once more, to know how long it takes when warm."""
    inputs = player.inputs(still, caption, seed)
    frames, first_ms = player.play(inputs)
    warm_ms = player.play(inputs)[1] if first_ms < PATIENCE_MS else None
    return Played(frames_THWC=frames, load_ms=player.load_ms, first_ms=first_ms, warm_ms=warm_ms)


def scaled(frames_THWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Every frame at size x size pixels."""
    from minuet.pictures import resized

    return np.stack([resized(frame, size, size) for frame in frames_THWC])


def slug(caption: str) -> str:
    """A file name from what a caption says."""
    from minuet.stickers.captions import parse

    return re.sub(r"[^a-z0-9]+", "-", " ".join(parse(caption).known[:6]))


def summary(
    path: Path, kind: Any, told: Any, player: Any, played: Played, frames: NDArray[np.uint8]
) -> dict[str, Any]:
    """What was done, for programs."""
    return {
        "path": str(path),
        "kind": kind.name,
        "caption": told.caption,
        "added": told.added,
        "unknown": list(told.unknown),
        "motion": told.spec.motion,
        "frames": len(frames),
        "size": frames.shape[1],
        "fps": FPS,
        "artifact": player.artifact.name,
        "runtime": player.version,
        "load_ms": round(played.load_ms, 1),
        "first_ms": round(played.first_ms, 1),
        "warm_ms": None if played.warm_ms is None else round(played.warm_ms, 1),
    }


def line(value: dict[str, Any]) -> str:
    """What was done, for people."""
    warm = "" if value["warm_ms"] is None else f", warm {value['warm_ms']:.0f} ms"
    return (
        f'{value["path"]}: "{value["caption"]}", {value["frames"]} frames of {value["size"]} px; '
        f"{value['runtime']} {value['artifact']}: load {value['load_ms']:.0f} ms, "
        f"first run {value['first_ms']:.0f} ms{warm}; seed {value['seed']}"
    )
