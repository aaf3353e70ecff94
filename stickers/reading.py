"""A caption becomes token numbers, or what it says: who, how, where to, what is unknown."""

# A token is a meaning: "wave", "waves" and "hello" are one. Words of no meaning are dropped, so
# that sixteen tokens hold any caption; nothing depends on the order of a dictionary but its own.

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from minuet.stickers import words

Key = TypeVar("Key")

TOKENS = 16
PADDING, UNKNOWN = 0, 1


def _meanings() -> list[tuple[str, ...]]:
    """Every meaning's words, each meaning once, in the order of its token."""
    tables: tuple[Iterable[tuple[str, ...]], ...] = (
        words.CHARACTERS.values(),
        words.COLORS.values(),
        words.MOTIONS.values(),
        words.EXPRESSIONS.values(),
        words.ACCESSORIES.values(),
        words.SIDES.values(),
        words.AMPLITUDES.values(),
        words.STYLES.values(),
        (words.HOLDING,),
    )
    return list(dict.fromkeys(meaning for table in tables for meaning in table))


VOCABULARY: dict[str, int] = {"[pad]": PADDING, "[unk]": UNKNOWN} | {
    word: token for token, meaning in enumerate(_meanings(), start=2) for word in meaning
}
VOCABULARY_SIZE = max(VOCABULARY.values()) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a caption says; None or "" for what it leaves open."""

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    character: str | None = None
    color: str | None = None
    expression: str | None = None
    accessory: str | None = None
    motion: str | None = None
    style: str | None = None
    toward: str = ""
    amplitude: float = 1.0


def plain(text: str) -> list[str]:
    """Lower-case words without punctuation, after the rewrites."""
    text = text.lower().replace("\u2019", "'")
    for pattern, word in words.REWRITES:
        text = re.sub(pattern, word, text)
    found = re.findall(r"[a-z0-9]+(?:'[a-z]+)?", text)
    return [word.removesuffix("'s") for word in found]


def encode(text: str) -> NDArray[np.int32]:
    """Token numbers int32 (16,): known words in their order, then zeros."""
    tokens = [VOCABULARY[word] for word in plain(text) if word in VOCABULARY][:TOKENS]
    return np.array(tokens + [PADDING] * (TOKENS - len(tokens)), np.int32)


def tokenizer_json() -> str:
    """The same encoding for the `tokenizers` library: a WordLevel tokenizer.json."""
    return json.dumps(_tokenizer(), indent=1)


def write_tokenizer(path: Path) -> None:
    """Write tokenizer.json."""
    path.write_text(tokenizer_json() + "\n", encoding="utf-8")


def _tokenizer() -> dict[str, Any]:
    known = "|".join(sorted(set(VOCABULARY) - {"[pad]", "[unk]"}))
    rewrites = [
        {"type": "Replace", "pattern": {"Regex": pattern}, "content": word}
        for pattern, word in words.REWRITES
    ]
    return {
        "version": "1.0",
        "truncation": {
            "direction": "Right",
            "max_length": TOKENS,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": TOKENS},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": PADDING,
            "pad_type_id": 0,
            "pad_token": "[pad]",
        },
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *rewrites]},
        "pre_tokenizer": {  # only the known words are let through
            "type": "Split",
            "pattern": {"Regex": rf"(?<![a-z0-9])(?:{known})(?![a-z0-9])"},
            "behavior": "Removed",
            "invert": True,
        },
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "[unk]"},
    }


def parse(text: str) -> Parsed:
    """What the caption says, word by word."""
    found = plain(text)
    known = tuple(word for word in found if word in VOCABULARY)
    unknown = tuple(w for w in found if w not in VOCABULARY and w not in words.SILENT)
    character, accessory, color = _nouns(found)
    side = _first(found, words.SIDES)
    return Parsed(
        known=known,
        unknown=unknown,
        character=character,
        color=color,
        accessory=accessory,
        expression=_first(found, words.EXPRESSIONS),
        motion=_first(found, words.MOTIONS),
        style=_first(found, words.STYLES),
        toward={"clockwise": "right", "counterclockwise": "left"}.get(side or "", side or ""),
        amplitude=_first(found, words.AMPLITUDES) or 1.0,
    )


def one_of_each(text: str) -> tuple[str, tuple[str, ...]]:
    """The caption's known words without those of a second motion or character, and these.

    A caption with one of each is handed back as it is.

    No caption of the world has two: told of both, a network moves parts by their sum.
    """
    told = parse(text)
    motions = words.MOTIONS.keys() - {told.motion}
    others = {word for name in motions for word in words.MOTIONS[name]}
    names = words.CHARACTERS.keys() - {told.character, "thing"}
    worn = {word for meaning in words.ACCESSORIES.values() for word in meaning}
    others |= {word for name in names for word in words.CHARACTERS[name]} - worn
    second = tuple(dict.fromkeys(word for word in told.known if word in others))
    if not second:
        return text, ()
    return " ".join(word for word in told.known if word not in second), second


def address(told: Parsed) -> tuple[int, ...]:
    """Numbers that stand for what a caption says: an address of random numbers of its own."""
    digest = hashlib.sha256(" ".join(told.known).encode()).digest()
    return tuple(int.from_bytes(digest[at : at + 4], "big") for at in range(0, 16, 4))


def _nouns(found: list[str]) -> tuple[str | None, str | None, str | None]:
    """Character, accessory and the character's colour: "a red cat holding a blue star"."""
    character = accessory = color = pending = None
    held = False
    for word in found:
        held = held or word in words.HOLDING or (word == "with" and character is not None)
        pending = _meaning(word, words.COLORS) or pending
        being = _meaning(word, words.CHARACTERS)
        worn = _meaning(word, words.ACCESSORIES)
        if worn and (held or not being or character not in (None, "thing")):
            accessory, held, pending = accessory or worn, False, None
        elif being and character in (None, "thing"):
            character, color, pending = being, color or pending, None
    return character, accessory, color or pending


def _first(found: list[str], table: dict[Key, tuple[str, ...]]) -> Key | None:
    return next((key for word in found if (key := _meaning(word, table)) is not None), None)


def _meaning(word: str, table: dict[Key, tuple[str, ...]]) -> Key | None:
    return next((key for key, meaning in table.items() if word in meaning), None)


BY_MOOD = {
    "happy": "bounce",
    "joy": "cheer",
    "sad": "shake",
    "angry": "shake",
    "surprised": "jump",
    "sleepy": "nod",
    "love": "pulse",
    "cool": "dance",
}
BY_CHARACTER = {"heart": "pulse", "star": "spin", "sun": "spin", "ghost": "wobble", "robot": "walk"}
BY_ACCESSORY = {"trumpet": "dance", "balloon": "jump", "partyhat": "cheer"}
ANY = ("bounce", "wave", "wobble", "dance", "jump")


def fitting_motion(parsed: Parsed) -> str:
    """The caption's motion, or one that suits its mood, its accessory or its character."""
    fallback = int(hashlib.sha256(" ".join(parsed.known).encode()).hexdigest(), 16)
    return (
        parsed.motion
        or BY_MOOD.get(parsed.expression or "")
        or BY_ACCESSORY.get(parsed.accessory or "")
        or BY_CHARACTER.get(parsed.character or "")
        or ANY[fallback % len(ANY)]
    )
