"""What a distillation was asked for: a checked value from a plain mapping."""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from itertools import pairwise
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from minuet.contracts.errors import RequestError

SCHEMA = 1
LARGEST = 2**63  # of a number
T = TypeVar("T")


def _check_training(clips: int, batch: int, learning_rate: float) -> None:
    if clips < 0 or batch < 1 or not 0 < learning_rate < 1:
        raise ValueError(
            f"clips >= 0, batch >= 1 and 0 < learning_rate < 1 are needed, got {clips}, "
            f"{batch} and {learning_rate}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """What one teacher is fed, and what it is told to care about: its difference from others.

    The first four multiply how often such clips are drawn; weights replace single loss weights.
    """

    big: float = 1.0  # amplitude above rest
    gentle: float = 1.0  # amplitude below rest
    things: float = 1.0  # stickers that are no named character
    dressed: float = 1.0  # with an accessory
    recolour: float = 0.35
    scale: tuple[float, float] = (0.8, 1.25)
    wordings: float = 1.0  # 0.5: only captions that leave nothing of the movement open
    forget: float = 0.1  # captions left empty
    weights: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        odds = self.big, self.gentle, self.things, self.dressed
        if min(odds) < 0:
            raise ValueError(f"big, gentle, things and dressed are not below 0, got {odds}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is the smallest and the largest, above 0, got {self.scale}")
        if not 0 < self.wordings <= 1 or not 0 <= self.recolour <= 1 or not 0 <= self.forget <= 1:
            raise ValueError("wordings, recolour and forget are shares: at most 1, not below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One training: from what, on how many clips, how fast."""

    size: str
    clips: int
    init: str = ""  # "", a stage's name, or a student folder
    batch: int = 12
    learning_rate: float = 1.2e-3
    warmup_clips: int = 720
    rehearsal: int = 0  # steps in which words learn motions from labels, before any picture
    study: int = 0  # steps in which stickers at rest teach where parts and joints are
    levels: tuple[float, ...] = ()  # train at these noise levels alone; none: at all of them
    taste: Taste = field(default_factory=Taste)

    def __post_init__(self) -> None:
        _check_training(self.clips, self.batch, self.learning_rate)
        if min(self.warmup_clips, self.rehearsal, self.study) < 0:
            raise ValueError("warmup_clips, rehearsal and study are not below 0")
        if not all(0 < level <= 1 for level in self.levels):
            raise ValueError(f"noise levels are above 0 and at most 1, got {self.levels}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """How the teachers animate the request set."""

    stickers: int
    steps: int = 16
    guidance: float = 1.5
    shift: float = 2.0

    def __post_init__(self) -> None:
        if self.stickers < 1 or self.steps < 1 or self.shift <= 0:
            raise ValueError(
                f"stickers >= 1, steps >= 1 and shift > 0 are needed, got {self.stickers}, "
                f"{self.steps} and {self.shift}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Curate:
    """What a candidate needs, to be kept."""

    motion: float = 0.5  # the judge's probability of the asked motion
    moved: tuple[float, float] = (0.3, 3.0)  # motion, as a ratio to the median of its kind
    seam: float = 2.1  # the step over the loop's seam over the mean step
    paint: float = 0.25  # share of the sticker's pixels that are painted, not moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Step and guidance distillation: the sampler the student ends with."""

    clips: int
    levels: tuple[float, ...] = (1.0, 0.0)
    batch: int = 12
    learning_rate: float = 4e-4
    world_share: float = 0.5  # of the batches; the rest are kept candidates

    def __post_init__(self) -> None:
        _check_training(self.clips, self.batch, self.learning_rate)
        falling = all(a > b for a, b in pairwise(self.levels))
        if len(self.levels) < 2 or self.levels[0] != 1 or self.levels[-1] != 0 or not falling:
            raise ValueError(f"levels fall from 1 to 0, got {self.levels}")
        if not 0 <= self.world_share <= 1:
            raise ValueError(f"world_share is in 0..1, got {self.world_share}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Teachers to student, in order."""

    name: str
    seed: int
    clips: int  # of the world, rendered
    base: Stage | None
    teachers: Mapping[str, Stage]
    ensemble: Ensemble
    curate: Curate
    student: Stage
    steps: Steps
    drafts: Mapping[str, Stage] = field(default_factory=dict[str, Stage])  # before the student
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema > SCHEMA:
            raise ValueError(f"schema {self.schema} is newer than {SCHEMA}; upgrade minuet")
        if not self.teachers:
            raise ValueError("at least one teacher is needed")
        for name in (*self.teachers, *self.drafts):  # each becomes a folder
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
                raise ValueError(f"a stage's name is of letters, digits, - and _, got {name!r}")
        if self.seed < 0 or self.clips < 1:
            raise ValueError(
                f"seed >= 0 and clips >= 1 are needed, got {self.seed} and {self.clips}"
            )


def recipe_from(value: Any, where: str) -> Recipe:
    """A plain mapping, as YAML gives it -> a recipe.

    Raises:
        RequestError: with the field that is wrong.
    """
    return _build(Recipe, value, where)


def _build(kind: type[T], value: Any, where: str) -> T:
    """A dataclass from a mapping; every field by its own type."""
    if not isinstance(value, Mapping):
        raise RequestError(f"{where}: a mapping is needed, {type(value).__name__} was found.")
    rows = cast(Mapping[str, Any], value)
    hints = get_type_hints(kind)
    unknown = sorted(set(rows) - set(hints), key=str)  # YAML's keys may be numbers
    if unknown:
        raise RequestError(f"{where}: unknown fields {unknown}; known: {sorted(hints)}.")
    for spec in fields(cast(Any, kind)):
        bare = spec.default is MISSING and spec.default_factory is MISSING
        if bare and spec.name not in rows:
            raise RequestError(f"{where}: the field {spec.name!r} is missing.")
    made = {name: _convert(hints[name], rows[name], f"{where}: {name}") for name in rows}
    try:
        return kind(**made)
    except ValueError as error:
        raise RequestError(f"{where}: {error}.") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    """One value by its type."""
    if get_origin(hint) is not None and type(None) in get_args(hint):
        if value is None:
            return None
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    if is_dataclass(hint):
        return _build(cast(type[Any], hint), value, where)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise RequestError(f"{where}: a list of numbers is needed, got {short(value)}.")
        rows = cast(list[Any], value)
        if Ellipsis not in get_args(hint) and len(rows) != len(get_args(hint)):
            count = len(get_args(hint))
            raise RequestError(f"{where}: {count} numbers are needed, got {short(value)}.")
        return tuple(_convert(float, row, where) for row in rows)
    if get_origin(hint) is not None:
        if not isinstance(value, Mapping):
            raise RequestError(f"{where}: a mapping is needed, got {short(value)}.")
        inner = get_args(hint)[1]
        table = cast(Mapping[str, Any], value)
        if strange := [name for name in table if type(name) is not str]:
            raise RequestError(f"{where}: names are text, got {short(strange[0])}; quote it.")
        return {name: _convert(inner, row, f"{where}.{name}") for name, row in table.items()}
    wanted: Any = (int, float) if hint is float else hint
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise RequestError(f"{where}: {hint.__name__} is needed, got {short(value)}.")
    if hint in (int, float) and not abs(value) < LARGEST:  # nor is a NaN below anything
        raise RequestError(f"{where}: {short(value)} is not a number that can be worked with.")
    return float(value) if hint is float else value


def short(value: Any) -> str:
    """A value in a few words: some lines of YAML stand for gigabytes."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes out no number of more than 4300 digits
        return "a number of thousands of digits"
