"""What people say of clips, one frozen value each, checked where it comes in.

Why it is said follows JUICE (Girdhar et al. 2023, Emu Video, arXiv 2311.10709): raters who tick
reasons agree more. Answers are never changed: of those to one question the newest counts.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from minuet.contracts.errors import RequestError
from minuet.contracts.recipe import short

# Letter on the keyboard: what is stored, and how it is asked.
REASONS = {
    "s": ("sharpness", "sharpness"),
    "m": ("smoothness", "motion smoothness"),
    "o": ("objects", "recognisable objects"),
    "c": ("consistency", "consistency"),
    "a": ("amount", "amount of motion"),
    "p": ("text-spatial", "as told: picture"),
    "t": ("text-temporal", "as told: movement"),
}
WORDS = frozenset(word for word, _ in REASONS.values())
VERDICT, PREFERENCE = "verdict", "preference"
VALUES = {VERDICT: ("keep", "reject"), PREFERENCE: ("clip", "other", "tie")}
WITHDRAWN = ""  # the value of an answer that was taken back
MAX_NAME = 64
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
FORMULA = "=+-@"  # how a spreadsheet's formula begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One person's verdict on a clip, or preference between two."""

    id: str  # made where the answer was given, so that sending it twice does no harm
    annotator: str
    request: int
    turn: int  # 0: the first look; 1: the same things shown again, to measure noise
    kind: str  # verdict or preference
    clip: str
    other: str  # of a preference: the clip it is held against, by name after `clip`; else ""
    value: str  # keep, reject; clip, other, tie; "" takes back what was said
    reasons: tuple[str, ...]
    at_ms: int  # when it was given, by the annotator's clock, in ms since 1970

    def __post_init__(self) -> None:
        if wrong := _fault(self):
            raise ValueError(wrong)

    @property
    def question(self) -> tuple[str, int, str, str]:
        """What was asked of whom: of the answers to it the newest counts."""
        return self.annotator, self.turn, self.clip, self.other


COLUMNS = tuple(field.name for field in fields(Answer))
WHOLE = ("request", "turn", "at_ms")
TEXT = tuple(name for name in COLUMNS if name not in (*WHOLE, "reasons"))


def _fault(answer: Answer) -> str:
    """What is wrong with an answer, as one phrase; "" if nothing is."""
    if not re.fullmatch(r"[A-Za-z0-9-]{8,64}", answer.id):
        return f"an id is of 8 to 64 letters, digits and -, got {short(answer.id)}"
    if wrong := name_fault(answer.annotator):
        return wrong
    if (
        answer.turn not in (0, 1)
        or not 0 <= answer.at_ms < 2**53
        or not 0 <= answer.request < 2**53
    ):
        return "turn is 0 or 1; request and at_ms are not below 0"
    if answer.kind not in VALUES:
        return f"kind is one of {list(VALUES)}, got {short(answer.kind)}"
    if answer.value not in (*VALUES[answer.kind], WITHDRAWN):
        return f"a {answer.kind} is one of {VALUES[answer.kind]}, got {short(answer.value)}"
    if (answer.kind == PREFERENCE) != (answer.clip < answer.other):
        return "a preference names two clips in order, a verdict one"
    strange = sorted(set(answer.reasons) - WORDS)
    if strange or len(set(answer.reasons)) < len(answer.reasons):
        return f"reasons are of {sorted(WORDS)}, each once, got {short(answer.reasons)}"
    return ""


def name_fault(name: str) -> str:
    """What is wrong with an annotator's name; "" if nothing is."""
    odd = any(
        sign in BIDI or unicodedata.category(sign)[0] == "C" for sign in name.replace("\u200d", "")
    )
    plain = name == unicodedata.normalize("NFC", name).strip()
    shown = name.replace("\u200d", "")
    if not shown or len(name) > MAX_NAME or odd or not plain:
        return f"a name is 1 to {MAX_NAME} printed characters, got {short(name)}"
    if name[0] in FORMULA:
        return f"a name begins with none of {FORMULA}: a spreadsheet would run it"
    return ""


def answer_from(row: Mapping[str, Any], where: str) -> Answer:
    """A plain mapping, of JSON or of a table -> an answer.

    Raises:
        RequestError: with the place and what is wrong there.
    """
    if missing := [name for name in COLUMNS if name not in row]:
        raise RequestError(f"{where}: {missing[0]!r} is missing.")
    if unknown := sorted(set(row) - set(COLUMNS)):
        raise RequestError(f"{where}: {short(unknown[0])} is no field of an answer: {COLUMNS}.")
    for name in WHOLE:
        if type(row[name]) is not int:
            raise RequestError(f"{where}: {name} is a whole number, got {short(row[name])}.")
    for name in TEXT:
        if type(row[name]) is not str:
            raise RequestError(f"{where}: {name} is text, got {short(row[name])}.")
    reasons = row["reasons"]
    if not isinstance(reasons, list | tuple) or not all(type(word) is str for word in reasons):
        raise RequestError(f"{where}: reasons are a list of words, got {short(reasons)}.")
    try:
        return Answer(**{**row, "reasons": tuple(cast(Iterable[str], reasons))})
    except ValueError as error:
        raise RequestError(f"{where}: {error}.") from error


def standing(answers: Iterable[Answer]) -> list[Answer]:
    """The newest answer to every question, without those that were taken back."""
    newest: dict[tuple[str, int, str, str], Answer] = {}
    for answer in sorted(answers, key=lambda answer: (answer.at_ms, answer.id)):
        newest[answer.question] = answer
    return [answer for answer in newest.values() if answer.value != WITHDRAWN]
