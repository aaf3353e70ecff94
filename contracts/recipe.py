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
KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
T = TypeVar("T")
Path = tuple[str, ...]  # the names that lead to a field, outermost first


def _check_training(clips: int, batch: int, learning_rate: float) -> None:
    if clips < 0 or batch < 1 or not 0 < learning_rate < 1:
        raise ValueError(
            f"clips >= 0, batch >= 1 and 0 < learning_rate < 1 are needed, got {clips}, "
            f"{batch} and {learning_rate}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """What one teacher is fed, and what it is told to care about: its difference from others.

    The first five multiply how often such clips are drawn; weights replace single loss weights.
    """

    big: float = 1.0  # amplitude above rest
    gentle: float = 1.0  # amplitude below rest
    things: float = 1.0  # stickers that are no named character
    dressed: float = 1.0  # with an accessory
    motions: Mapping[str, float] = field(default_factory=dict[str, float])  # left out: as usual
    recolour: float = 0.35
    scale: tuple[float, float] = (0.8, 1.25)
    wordings: float = 1.0  # 0.5: only captions that leave nothing of the movement open
    forget: float = 0.1  # captions left empty
    weights: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        odds = self.big, self.gentle, self.things, self.dressed, *self.motions.values()
        if min(odds) < 0:
            raise ValueError(f"big, gentle, things, dressed, motions are not below 0, got {odds}")
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
    shares: int = 1  # a batch is cut into these, on as many processes as divide them
    recompute: bool = False  # blocks compute again for the gradient: less memory, more time
    taste: Taste = field(default_factory=Taste)

    def __post_init__(self) -> None:
        _check_training(self.clips, self.batch, self.learning_rate)
        if min(self.warmup_clips, self.rehearsal, self.study) < 0 or self.shares < 1:
            raise ValueError("warmup_clips, rehearsal, study >= 0 and shares >= 1 are needed")
        if not all(0 < level <= 1 for level in self.levels):
            raise ValueError(f"noise levels are above 0 and at most 1, got {self.levels}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """A teacher that comes as the folder of a diffusers pipeline; 0: what the pipeline does."""

    folder: str
    steps: int = 0
    guidance: float = 0.0
    height: int = 0
    width: int = 0
    frames: int = 0
    told: Mapping[str, str] = field(default_factory=lambda: {"prompt": "text", "image": "sticker"})

    def __post_init__(self) -> None:
        if strange := sorted(set(self.told.values()) - {"text", "sticker"}):
            raise ValueError(f"told: arguments can be told text or sticker, got {strange}")
        if min(self.steps, self.guidance, self.height, self.width, self.frames) < 0:
            raise ValueError("steps, guidance, height, width and frames are not below 0")

    @property
    def arguments(self) -> dict[str, Any]:
        """Of its call."""
        named = {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "height": self.height,
            "width": self.width,
            "num_frames": self.frames,
        }
        return {name: value for name, value in named.items() if value}


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
    by: str = "judge"  # judge, or people: the run waits for `minuet curate`

    def __post_init__(self) -> None:
        if self.by not in ("judge", "people"):
            raise ValueError(f"by is judge or people, got {self.by!r}")


METHODS = ("kept", "reflow", "progressive", "consistency", "matching", "adversarial", "backward")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Step and guidance distillation: the sampler the student ends with.

    "kept" learns from kept clips, with their parts and motions; every other method asks a teacher
    at noise levels. `then` names further teachers, each with the log-SNR from which it is asked.
    """

    clips: int
    levels: tuple[float, ...] = (1.0, 0.0)
    batch: int = 12
    learning_rate: float = 4e-4
    world_share: float = 0.5  # of the batches; the rest are kept candidates
    rehearsal: int = 0  # steps in which words learn the motions of kept clips from their labels
    method: str = "kept"
    teacher: str = ""  # whom the other methods ask; none: the first
    then: Mapping[str, float] = field(default_factory=dict[str, float])
    teacher_steps: int = 16
    guidance: float = 1.5  # of the teacher that is asked
    turns: int = 2  # of the rivals, for one of the student

    def __post_init__(self) -> None:
        _check_training(self.clips, self.batch, self.learning_rate)
        if self.method not in METHODS:
            raise ValueError(f"method is one of {', '.join(METHODS)}, got {self.method!r}")
        if self.teacher_steps < 1 or self.turns < 1 or self.rehearsal < 0:
            raise ValueError("teacher_steps, turns >= 1 and rehearsal >= 0 are needed")
        falling = all(a > b for a, b in pairwise(self.levels))
        if len(self.levels) < 2 or self.levels[0] != 1 or self.levels[-1] != 0 or not falling:
            raise ValueError(f"levels fall from 1 to 0, got {self.levels}")
        if not 0 <= self.world_share <= 1:
            raise ValueError(f"world_share is in 0..1, got {self.world_share}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one teacher has to say in factorized distillation."""

    teacher: str
    weight: float = 0.5
    low: float = 0.02  # noise levels at which its score is asked
    high: float = 0.98
    critic: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high <= 1 or self.weight < 0:
            raise ValueError("0 < low < high <= 1 and a weight not below 0 are needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorized:
    """Factorized diffusion distillation: scores alone first, then scores and critics."""

    clips: int
    parts: Mapping[str, Part]
    steps: int = 3
    sds: float = 2.5
    rank: int = 0  # of the LoRA that is trained; 0: all weights
    critics: float = 1 / 3  # the last share of the clips, with critics
    batch: int = 4
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        _check_training(self.clips, self.batch, self.learning_rate)
        if not self.parts or self.steps < 1 or self.sds < 0 or self.rank < 0:
            raise ValueError("parts, steps of at least 1, sds and rank not below 0 are needed")
        if not 0 <= self.critics <= 1:
            raise ValueError(f"critics is a share: at most 1, not below 0, got {self.critics}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrink:
    """What the student loses after its training, and how it recovers."""

    clips: int
    removed: int = 0  # residual blocks: those that change least of what passes through
    width: float = 1.0  # share of the channels within blocks that stays: the strongest
    halved: bool = False  # it looks at noisy frames at half their size
    first: float = 0.4  # share of the clips that learn the task alone
    batch: int = 12
    learning_rate: float = 3e-4

    def __post_init__(self) -> None:
        _check_training(self.clips, self.batch, self.learning_rate)
        if self.removed < 0 or not 0 < self.width <= 1 or not 0 <= self.first <= 1:
            raise ValueError("removed >= 0, 0 < width <= 1 and 0 <= first <= 1 are needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tune:
    """Quality tuning: a short last training on kept clips, stopped before generality falls."""

    clips: int
    every: int = 20  # steps from one look at held-out stickers to the next
    fall: float = 0.01  # of the combined score, from its best
    patience: int = 2
    stickers: int = 32
    batch: int = 12
    learning_rate: float = 5e-5

    def __post_init__(self) -> None:
        _check_training(self.clips, self.batch, self.learning_rate)
        if min(self.every, self.patience, self.stickers) < 1 or self.fall < 0:
            raise ValueError("every, patience, stickers >= 1 and fall >= 0 are needed")


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
    pipelines: Mapping[str, Lent] = field(default_factory=dict[str, Lent])  # further teachers
    shrink: Shrink | None = None  # behind the student
    factorized: Factorized | None = None  # before the steps
    tune: Tune | None = None  # after them
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema > SCHEMA:
            raise ValueError(f"schema {self.schema} is newer than {SCHEMA}; upgrade minuet")
        if not self.teachers and not self.pipelines:
            raise ValueError("at least one teacher is needed")
        if twice := sorted(set(self.teachers) & set(self.pipelines)):
            raise ValueError(f"two teachers are called {twice[0]!r}")
        for name in (*self.teachers, *self.pipelines, *self.drafts):  # each becomes a folder
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
                raise ValueError(f"a stage's name is of letters, digits, - and _, got {name!r}")
        if self.seed < 0 or self.clips < 1:
            raise ValueError(
                f"seed >= 0 and clips >= 1 are needed, got {self.seed} and {self.clips}"
            )


class FieldError(RequestError):
    """A field of a recipe that is wrong, and where it stands, outermost name first."""

    def __init__(self, path: Path, message: str) -> None:
        self.path = path
        super().__init__(f"{'.'.join(path)}: {message}" if path else message)

    def at(self, where: str, lines: Mapping[Path, int]) -> RequestError:
        """The same with its file, and the line of the innermost name that has one."""
        ends = (self.path[:n] for n in range(len(self.path), -1, -1))
        line = next((lines[path] for path in ends if path in lines), None)
        return RequestError(f"{where}, line {line}: {self}" if line else f"{where}: {self}")


def recipe_from(value: Any, where: str, lines: Mapping[Path, int] | None = None) -> Recipe:
    """A plain mapping, as YAML gives it -> a recipe.

    Args:
        where: the file's name.
        lines: at which line of it a field stands.

    Raises:
        RequestError: with the file, the line and the field that is wrong.
    """
    try:
        return _build(Recipe, value, ())
    except FieldError as error:
        raise error.at(where, lines or {}) from error


def _build(kind: type[T], value: Any, path: Path) -> T:
    """A dataclass from a mapping; every field by its own type."""
    if not isinstance(value, Mapping):
        raise FieldError(path, f"a mapping is needed, {type(value).__name__} was found.")
    rows = cast(Mapping[str, Any], value)
    hints = get_type_hints(kind)
    unknown = sorted(set(rows) - set(hints), key=str)  # YAML's keys may be numbers
    if unknown:
        name = str(unknown[0])
        raise FieldError((*path, name), f"there is no such field; known: {sorted(hints)}.")
    for spec in fields(cast(Any, kind)):
        bare = spec.default is MISSING and spec.default_factory is MISSING
        if bare and spec.name not in rows:
            raise FieldError(path, f"the field {spec.name!r} is missing.")
    made = {name: _convert(hints[name], rows[name], (*path, name)) for name in rows}
    try:
        return kind(**made)
    except ValueError as error:
        raise FieldError(path, f"{error}.") from error


def _convert(hint: Any, value: Any, path: Path) -> Any:
    """One value by its type."""
    if get_origin(hint) is not None and type(None) in get_args(hint):
        if value is None:
            return None
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    if is_dataclass(hint):
        return _build(cast(type[Any], hint), value, path)
    if get_origin(hint) is tuple:
        return _row(get_args(hint), value, path)
    if get_origin(hint) is not None:
        return _table(get_args(hint)[1], value, path)
    wanted: Any = (int, float) if hint is float else hint
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise FieldError(path, f"{KINDS[hint]} is needed, got {short(value)}.")
    if hint in (int, float) and not abs(value) < LARGEST:  # nor is a NaN below anything
        raise FieldError(path, f"{short(value)} is not a number that can be worked with.")
    return float(value) if hint is float else value


def _row(kinds: tuple[Any, ...], value: Any, path: Path) -> tuple[Any, ...]:
    """A list of one kind of value; of as many as are needed, unless any number is."""
    what = "numbers" if kinds[0] in (int, float) else "values"
    if not isinstance(value, list | tuple):
        raise FieldError(path, f"a list of {what} is needed, got {short(value)}.")
    rows = cast(list[Any], value)
    if Ellipsis not in kinds and len(rows) != len(kinds):
        raise FieldError(path, f"{len(kinds)} {what} are needed, got {short(value)}.")
    return tuple(_convert(kinds[0], row, (*path, str(at))) for at, row in enumerate(rows))


def _table(kind: Any, value: Any, path: Path) -> dict[str, Any]:
    """Values of one kind by name."""
    if not isinstance(value, Mapping):
        raise FieldError(path, f"a mapping is needed, got {short(value)}.")
    table = cast(Mapping[str, Any], value)
    if strange := [name for name in table if type(name) is not str]:
        raise FieldError(path, f"names are text, got {short(strange[0])}; quote it.")
    return {name: _convert(kind, row, (*path, name)) for name, row in table.items()}


def short(value: Any) -> str:
    """A value in a few words: some lines of YAML stand for gigabytes."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes out no number of more than 4300 digits
        return "a number of thousands of digits"
