"""An address (seed, index) becomes a sticker, its caption, its clip and its truth."""

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.clip import FRAMES, Clip
from minuet.contracts.errors import RequestError
from minuet.stickers import captions
from minuet.stickers import render as rendering
from minuet.stickers import truth as truths
from minuet.stickers.accessories import ACCESSORIES, HELD
from minuet.stickers.characters import CHARACTERS, DEFAULT_COLOR, build, build_thing
from minuet.stickers.faces import EXPRESSIONS
from minuet.stickers.motions import MOTIONS, SIDED, SIDES
from minuet.stickers.palette import COLORS, STYLES
from minuet.stickers.rig import Rig
from minuet.stickers.spec import NO_ACCESSORY, THING, Spec
from minuet.stickers.truth import Truth
from minuet.stickers.view import Matrices, View, anatomy, fit, matrices

__all__ = [
    "Spec",
    "Truth",
    "anatomy_of",
    "render_clip",
    "render_static",
    "render_truth",
    "rig_of",
    "sample",
    "spec_from_caption",
    "split_of",
]

SPLITS = ("train", "test")
HELD_OUT = 8  # one character x motion pair in so many is for tests
THINGS = 0.3  # of the training stickers
DEFAULT_COLORS = 0.35
BARE = 0.3  # without an accessory
AMPLITUDES = ((0.6, 0.25), (1.0, 0.5), (1.3, 0.25))


def split_of(spec: Spec) -> str:
    """ "train" or "test": whole pairs of character and motion are held out."""
    return _split(spec.character, spec.motion)


@functools.cache
def _split(character: str, motion: str) -> str:
    if character == THING:
        return "train"
    digest = hashlib.sha256(f"{character} {motion}".encode()).digest()
    return "test" if digest[0] % HELD_OUT == 0 else "train"


@functools.cache
def pairs(split: str) -> tuple[tuple[str, str], ...]:
    """Every (character, motion) of a split. Raises RequestError for an unknown split."""
    if split not in SPLITS:
        raise RequestError(f"unknown split {split!r}; choose {' or '.join(SPLITS)}")
    known = ((character, motion) for character in CHARACTERS for motion in MOTIONS)
    return tuple(pair for pair in known if _split(*pair) == split)


def sample(seed: int, index: int, split: str = "train") -> Spec:
    """The sticker at an address; the same address gives the same sticker everywhere."""
    known = pairs(split)
    rng = np.random.default_rng([seed, index, SPLITS.index(split)])
    character, motion = known[rng.integers(len(known))]
    style = str(rng.choice(STYLES))
    toward = str(rng.choice(SIDES)) if motion in SIDED else ""
    values, weights = zip(*AMPLITUDES, strict=True)
    amplitude = float(rng.choice(values, p=weights))
    own = int(rng.integers(2**31))
    if split == "train" and rng.random() < THINGS:
        any_motion = str(rng.choice(MOTIONS))
        side = str(rng.choice(SIDES)) if any_motion in SIDED else ""
        return thing(own, any_motion, side, amplitude, style)
    default = rng.random() < DEFAULT_COLORS
    accessory = NO_ACCESSORY if rng.random() < BARE else str(rng.choice(_worn()))
    if motion == "wave" and accessory in HELD:
        toward = "left"  # the free hand
    return Spec(
        character=character,
        color=DEFAULT_COLOR[character] if default else str(rng.choice(list(COLORS))),
        style=style,
        expression=str(rng.choice(EXPRESSIONS)),
        accessory=accessory,
        motion=motion,
        toward=toward,
        amplitude=amplitude,
        seed=own,
    )


def thing(seed: int, motion: str, toward: str, amplitude: float, style: str = "flat") -> Spec:
    """A sticker of no kind that has a name: its seed draws it."""
    return Spec(
        character=THING,
        color="",
        style=style,
        expression="",
        accessory=NO_ACCESSORY,
        motion=motion,
        toward=toward,
        amplitude=amplitude,
        seed=seed,
    )


def _worn() -> list[str]:
    return [name for name in ACCESSORIES if name != NO_ACCESSORY]


def spec_from_caption(text: str, seed: int = 0) -> tuple[Spec, tuple[str, ...]]:
    """What a caption describes, and its words that are not known.

    What it leaves open is chosen by rule or by the seed, so the same call gives the same sticker.
    """
    told = captions.parse(text)
    rng = np.random.default_rng([seed, 1, *captions.address(told)])
    character = told.character or str(rng.choice(CHARACTERS))
    motion = told.motion or captions.fitting_motion(told)
    spec = Spec(
        character=character,
        color=told.color or DEFAULT_COLOR.get(character, ""),
        style=told.style or str(rng.choice(STYLES)),
        expression=told.expression or "happy",
        accessory=told.accessory or NO_ACCESSORY,
        motion=motion,
        toward=(told.toward or str(rng.choice(SIDES))) if motion in SIDED else "",
        amplitude=told.amplitude,
        seed=seed,
    )
    if character == THING:
        spec = thing(seed, motion, spec.toward, spec.amplitude, spec.style)
    return spec, told.unknown


def rig_of(spec: Spec) -> Rig:
    """The sticker's parts in painting order."""
    if spec.character == THING:
        return build_thing(spec.seed)
    return build(spec.character, spec.color, spec.expression, spec.accessory)


def view_of(spec: Spec, rig: Rig) -> View:
    """Where the sticker sits on its canvas: its seed zooms and shifts it a little."""
    rng = np.random.default_rng([spec.seed, 2])
    x, y = rng.uniform(-1.0, 1.0, 2).tolist()
    return fit(rig, zoom=1.0 - 0.1 * float(rng.random()) ** 2, slide=(x, y))


def render_clip(spec: Spec, size: int, backend: str = "auto") -> Clip:
    """The sticker's clip at size x size pixels, 64 to 512.

    Raises RequestError for another size or backend, MissingBackendError for a missing one.
    """
    rig, stack = _staged(spec, FRAMES)
    frames = _draw(spec, rig, stack, size, backend)
    return Clip(
        frames_THWC=frames, caption=captions.caption(spec), motion=spec.motion, seed=spec.seed
    )


def render_static(spec: Spec, size: int, backend: str = "auto") -> NDArray[np.uint8]:
    """The sticker at rest, the first frame of its clip: RGBA uint8 (H, W, 4), straight alpha."""
    rig, stack = _staged(spec, FRAMES)
    still: NDArray[np.uint8] = _draw(spec, rig, stack[:1], size, backend)[0]
    return still


def render_truth(spec: Spec, size: int, backend: str = "auto") -> Truth:
    """The clip with part, mask, affines and exact flow of every pixel."""
    rig, stack = _staged(spec, FRAMES)
    frames = _draw(spec, rig, stack, size, backend)
    parts = rendering.backend(backend).number(rig, stack, size)
    return truths.truth(frames, parts, stack)


def anatomy_of(spec: Spec) -> NDArray[np.float64]:
    """The sticker's joints on its canvas, its scale and what it lacks; see view.anatomy."""
    rig = rig_of(spec)
    return anatomy(rig, view_of(spec, rig))


def _staged(spec: Spec, frames: int) -> tuple[Rig, Matrices]:
    rig = rig_of(spec)
    view = view_of(spec, rig)
    return rig, matrices(rig, spec.motion, spec.amplitude, spec.toward, view, frames)


def _draw(spec: Spec, rig: Rig, stack: Matrices, size: int, backend: str) -> NDArray[np.uint8]:
    rendering.check_size(size)
    return rendering.backend(backend).draw(rig, spec.style, stack, size)
