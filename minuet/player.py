"""Bundle, caption, image, seed -> frames, as an app would make them: one call, no framework.

One seed is one future of a caption. The side that it leaves open is drawn from
`numpy.random.default_rng([seed, 3, *SHA-256 of its known words])`, and the noise is

    numpy.random.default_rng([seed, 0]).standard_normal(shape, dtype=numpy.float32)

which is PCG64 and numpy's ziggurat: an app in another language reads it from a file.
"""

import difflib
import re
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.artifact import PRECISIONS, Artifact, Manifest
from minuet.contracts.errors import DamagedError, MinuetError, MissingBackendError, RequestError
from minuet.contracts.runtime import Session
from minuet.contracts.tensors import Arrays, Signature

if TYPE_CHECKING:
    from minuet.stickers.spec import Spec

MAX_CAPTION = 500  # characters; two lines of a chat are about 160
MAX_TOKENIZER_BYTES = 16 << 20
NAMED = 12  # words that a message names; the rest would bury it
ADDED = 4  # tokens kept free for what is added to a caption
EXAMPLES = "a red rabbit waving, a sleepy panda with a balloon, a robot dancing wildly"
INPUTS, OUTPUT = ("image", "tokens", "noise"), "frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A caption that leaves nothing open, and what was added to it or not understood."""

    caption: str  # what the model is told
    added: str = ""  # its last words, which the seed or the table of fitting motions chose
    fitted: str = ""  # the motion among them, where the caption had none
    unknown: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()  # known words for which there was no room
    second: tuple[str, ...] = ()  # of a second motion or character: one of each is animated
    spec: "Spec"  # what the sticker world would draw for it
    drawn_who: bool = False  # no character was named: the seed chose


def script(text: str, seed: int = 0) -> Script:
    """Read a caption; the same text and seed give the same script.

    Raises:
        RequestError: empty, longer than MAX_CAPTION characters, or without a word that is known.
    """
    from minuet.stickers import captions, world

    said, foreign = _understandable(text)
    told = captions.parse(said)
    if not told.known:
        found = ", ".join(told.unknown + foreign)[:60] or "no words"
        raise RequestError(f"none of the caption's words is known ({found}); try: {EXAMPLES}.")
    unknown = tuple(dict.fromkeys(told.unknown + foreign))
    said, second = captions.one_of_each(said)
    told = captions.parse(said)
    room = captions.encode("").size - ADDED
    unread = told.known[room:]
    if unread:
        said = " ".join(told.known[:room])
        told = captions.parse(said)
    fitted = "" if told.motion else captions.fitting_motion(told)
    added = " ".join(filter(None, (fitted and f"{fitted}s", _side(said, seed))))
    whole = f"{said} {added}".strip()
    return Script(
        caption=whole,
        added=added,
        fitted=fitted,
        unknown=unknown,
        unread=unread,
        second=second,
        spec=world.spec_from_caption(whole, seed)[0],
        drawn_who=told.character is None,
    )


def _understandable(text: str) -> tuple[str, tuple[str, ...]]:
    """The caption in one printable line, without emoji and words in other alphabets; and those."""
    if len(text) > MAX_CAPTION:
        raise RequestError(
            f"the caption has {len(text)} characters, {MAX_CAPTION} are taken; "
            f"a few words are best: {EXAMPLES}."
        )
    if not text.strip():
        raise RequestError(f"the caption is empty; try: {EXAMPLES}.")
    # Full-width letters become plain ones; control characters and broken bytes say nothing.
    text = "".join(
        sign if sign.isprintable() else " " for sign in unicodedata.normalize("NFKC", text)
    )
    words = re.findall(r"\w+|[^\w\s]", text)
    foreign = tuple(dict.fromkeys(word.lower() for word in words if _foreign(word)))
    for word in foreign:
        text = re.sub(re.escape(word), " ", text, flags=re.IGNORECASE)
    return " ".join(text.split()), foreign


def _foreign(word: str) -> bool:
    """Whether a word has letters of another alphabet, or is a picture; punctuation is neither."""
    return not word.isascii() and (
        word.isalnum() or len(word) > 1 or unicodedata.category(word) in ("So", "Sk")
    )


def _side(said: str, seed: int) -> str:
    """Words for which way, where a caption leaves it open; how strongly is as usual then."""
    from minuet.stickers import captions
    from minuet.stickers.accessories import HELD
    from minuet.stickers.motions import SIDED, SIDES

    told = captions.parse(said)
    motion = captions.fitting_motion(told)
    if told.toward or motion not in SIDED:
        return ""
    toward = str(np.random.default_rng([seed, 3, *captions.address(told)]).choice(SIDES))
    if motion == "wave" and told.accessory in HELD:
        toward = "left"  # the free hand
    return captions.WAYS[motion][0].format(side=toward, turn=captions.TURNS[toward])


def nearest(word: str) -> str:
    """A known word that looks like it, or ""."""
    from minuet.stickers.captions import VOCABULARY

    return next(iter(difflib.get_close_matches(word, VOCABULARY, 1, 0.8)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """An opened bundle."""

    manifest: Manifest
    artifact: Artifact
    runtime: str
    version: str
    load_ms: float
    tokenizer: Any
    session: Session

    @property
    def size(self) -> int:
        """The side of its stickers in pixels."""
        return self.manifest.signature.outputs[0].shape[-1]

    def inputs(self, still: NDArray[np.uint8], caption: str, seed: int) -> Arrays:
        """What the program takes for a still uint8 (S, S, 4), a caption and a seed.

        Raises:
            RequestError: a still of another size.
        """
        image, tokens, noise = (_spec(self.manifest.signature, name) for name in INPUTS)
        wanted = (*image.shape[2:], 4)
        if still.shape != wanted or still.dtype != np.uint8:
            raise RequestError(f"the still is {still.shape}; the bundle takes uint8 {wanted}.")
        planes = still.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        return {
            "image": planes.astype(image.dtype),
            "tokens": self._tokens(caption).astype(tokens.dtype),
            "noise": draw_noise(noise.shape, seed).astype(noise.dtype),
        }

    def play(self, inputs: Arrays) -> tuple[NDArray[np.uint8], float]:
        """Frames uint8 (T, S, S, 4), straight alpha, and the milliseconds they took.

        Raises:
            DamagedError: the program does not run on what its manifest says, or draws no pixels.
        """
        started = time.perf_counter()
        try:
            frames = np.asarray(self.session.run(inputs)[OUTPUT])
        except (MinuetError, MemoryError):
            raise
        except Exception as error:  # each runtime has its own
            said = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise DamagedError(
                f"{self.artifact.name} does not run on what its manifest says ({said}); "
                "export it again."
            ) from error
        spent = (time.perf_counter() - started) * 1000
        if not np.isfinite(frames).all():
            raise DamagedError(f"{self.artifact.name} drew no pixels (NaN); export it again.")
        whole = np.clip(frames.astype(np.float32).round(), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(whole.transpose(0, 2, 3, 1)), spent

    def _tokens(self, caption: str) -> NDArray[np.int64]:
        spec = _spec(self.manifest.signature, "tokens")
        count = spec.shape[-1]
        numbers = list(self.tokenizer.encode(caption).ids)[:count]
        row = np.array(numbers + [0] * (count - len(numbers)), np.int64)[None]
        if spec.high is not None and row.max() > spec.high:
            raise DamagedError(
                f"{self.manifest.name}: its tokenizer.json does not belong to its model."
            )
        return row


def draw_noise(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Standard normal float32, as this module's first lines say."""
    return np.random.default_rng([seed, 0]).standard_normal(shape, dtype=np.float32)


@contextmanager
def open_player(
    bundle: Path, *, runtime: str = "ort", precision: str = "", threads: int = 0
) -> Iterator[Player]:
    """Check a bundle, choose its most exact artifact that the runtime opens, and load it.

    Raises:
        DamagedError: the bundle is not whole.
        RequestError: no such runtime, no such artifact, or another kind of program.
        MissingBackendError: the runtime cannot run here.
    """
    from minuet.export.bundle import load_bundle
    from minuet.runtimes import table

    started = time.perf_counter()
    machine = table.runtime(runtime)
    refusal = machine.available()
    if refusal:
        raise MissingBackendError(f"{runtime} cannot run here: {refusal}.")
    manifest = load_bundle(bundle)
    _check_signature(manifest, bundle)
    artifact = choose(manifest, machine.targets, precision, runtime)
    tokenizer = _read_tokenizer(bundle)
    with machine.open(bundle, artifact, manifest.signature, threads=threads) as session:
        yield Player(
            manifest=manifest,
            artifact=artifact,
            runtime=runtime,
            version=machine.version(),
            load_ms=(time.perf_counter() - started) * 1000,
            tokenizer=tokenizer,
            session=session,
        )


def choose(manifest: Manifest, targets: tuple[str, ...], precision: str, runtime: str) -> Artifact:
    """The artifact of the asked precision, else the most exact one, that a runtime opens.

    Raises:
        RequestError: there is none.
    """
    found = [row for row in manifest.artifacts if row.target in targets]
    if precision:
        found = [row for row in found if row.precision == precision]
    if not found:
        held = ", ".join(row.name for row in manifest.artifacts) or "nothing"
        asked = " ".join(filter(None, (runtime, precision)))
        raise RequestError(
            f"{manifest.name}: {asked} opens none of what the bundle holds ({held})."
        )
    return min(found, key=lambda row: (PRECISIONS.index(row.precision), row.name))


def _check_signature(manifest: Manifest, bundle: Path) -> None:
    names = [spec.name for spec in manifest.signature.inputs]
    outputs = manifest.signature.outputs
    if sorted(names) != sorted(INPUTS) or [spec.name for spec in outputs] != [OUTPUT]:
        raise RequestError(
            f"{bundle}: takes {', '.join(names)}; only programs animate(image, tokens, noise) -> "
            "frames can be played."
        )
    image, frames = _spec(manifest.signature, "image").shape, outputs[0].shape
    square = len(image) == 4 and image[:2] == (1, 4) and image[2] == image[3]
    if not square or len(frames) != 4 or frames[1:] != image[1:]:
        raise RequestError(f"{bundle}: its stickers are not square RGBA: {image} -> {frames}.")


def _spec(signature: Signature, name: str) -> Any:
    return next(spec for spec in signature.inputs if spec.name == name)


def _read_tokenizer(bundle: Path) -> Any:
    from tokenizers import Tokenizer

    path = bundle / "tokenizer.json"
    if not path.is_file() or path.stat().st_size > MAX_TOKENIZER_BYTES:
        raise DamagedError(f"{path}: missing, or too large; export the bundle again.")
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises a bare Exception
        raise DamagedError(f"{path}: not a tokenizer ({error}); get a fresh copy.") from error
