"""What a denoiser may look like: the fields of its shape, checked, and the sizes we train."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from minuet.contracts.errors import RequestError

PATCH = 4
LARGEST = 8192  # far above phone class; a hostile model.json would ask for more


def _is_size(value: object) -> bool:
    return type(value) is int and 1 <= value <= LARGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiserConfig:
    """The shape of one network."""

    fine: int  # channels on the patch grid
    coarse: int  # channels on the coarse grid
    depth: int  # blocks on the coarse grid, each way
    encoder: int  # channels of the sticker encoder on the patch grid; twice that on the coarse one
    text: int = 128
    text_depth: int = 2
    film: int = 256
    heads: int = 4
    shuffle: int = 32  # channels between the patch grid and the pixels
    script: int = 0  # width of the short way from words to motions; 0: none
    landmarks: int = 0  # joints found in the sticker, which motions turn about; 0: none
    traits: int = 4
    scales: int = 0  # guidance scales that it is told, after they were folded in; 0: none
    puppet: bool = False  # part masks are found once and carried along, not drawn for each frame
    head: str = "compose"  # compose: flow, gate and paint; latent: a residual to the first frame
    channels: int = 4
    parts: int = 12
    frames: int = 8
    side: int = 64
    vocabulary: int = 128
    tokens: int = 16
    gap: int = 1  # frames shown for each that the network makes
    halved: bool = False  # looks at every noisy frame at half its size
    widths: Mapping[str, int] = field(default_factory=dict)  # of narrowed blocks, by name
    removed: tuple[str, ...] = ()  # names of residual blocks that are left out

    def __post_init__(self) -> None:
        if self.head not in ("compose", "latent"):
            raise RequestError(f"head is 'compose' or 'latent', not {self.head!r}.")
        numbers = {name: value for name, value in asdict(self).items() if name not in NOT_SIZES}
        wrong = [name for name, value in numbers.items() if not _is_size(value)]
        if wrong:
            raise RequestError(f"model config: {wrong} must be whole numbers in 1..{LARGEST}.")
        if not isinstance(self.puppet, bool):
            raise RequestError(f"model config: puppet {self.puppet!r} is true or false.")
        for name in ("landmarks", "scales", "script"):
            value = getattr(self, name)
            if value != 0 and not _is_size(value):
                raise RequestError(f"model config: {name} {value!r} is 0 or in 1..{LARGEST}.")
        if self.landmarks and not (self.script and self.puppet):
            raise RequestError("model config: landmarks need a script and a puppet.")
        self._check_cuts()
        if self.puppet and self.head != "compose":
            raise RequestError("model config: a puppet needs the head 'compose'.")
        if self.side % (2 * PATCH) or self.coarse % self.heads or 2 * self.encoder % self.heads:
            raise RequestError(
                f"side {self.side} must divide by {2 * PATCH}; coarse {self.coarse} and twice "
                f"encoder {self.encoder} by heads {self.heads}."
            )

    def _check_cuts(self) -> None:
        """Whether blocks of these names exist, the network says when it is built."""
        widths, removed = self.widths, self.removed
        if not isinstance(widths, dict) or not all(map(_is_size, widths.values())):
            raise RequestError(f"model config: widths are whole numbers in 1..{LARGEST} by name.")
        if not isinstance(removed, tuple) or len(set(map(str, removed))) < len(removed):
            raise RequestError("model config: removed is a list of names, each once.")
        if not all(isinstance(name, str) for name in (*widths, *removed)):
            raise RequestError("model config: blocks in widths and removed have names.")
        if not isinstance(self.halved, bool):
            raise RequestError(f"model config: halved {self.halved!r} is true or false.")
        if self.gap > 1 and (self.head != "compose" or self.shown > LARGEST):
            raise RequestError(
                f"model config: gap {self.gap} needs the head 'compose', few frames."
            )

    @property
    def shown(self) -> int:
        """Frames of a clip as it is shown."""
        return self.frames * self.gap

    @property
    def grid(self) -> int:
        """Side of the patch grid."""
        return self.side // PATCH

    def to_json(self) -> dict[str, Any]:
        """A plain value for model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "DenoiserConfig":
        """The reverse of to_json; an unknown field is an error with its name."""
        unknown = sorted(set(value) - set(cls.__dataclass_fields__))
        if unknown:
            raise RequestError(f"model config: unknown fields {unknown}; upgrade minuet.")
        given = dict(value)
        if isinstance(given.get("removed"), list):
            given["removed"] = tuple(given["removed"])
        return cls(**given)


NOT_SIZES = ("halved", "head", "landmarks", "puppet", "removed", "scales", "script", "widths")
SIZES: dict[str, DenoiserConfig] = {
    "demo": DenoiserConfig(
        fine=24,
        coarse=48,
        depth=1,
        encoder=24,
        text=64,
        film=96,
        shuffle=16,
        script=32,
        landmarks=13,
        puppet=True,
    ),
    "pocket": DenoiserConfig(
        fine=32, coarse=96, depth=1, encoder=64, shuffle=24, script=64, landmarks=13, puppet=True
    ),
    "teacher": DenoiserConfig(
        fine=48, coarse=160, depth=2, encoder=96, script=64, landmarks=13, puppet=True
    ),
    "phone-60m": DenoiserConfig(
        fine=192, coarse=512, depth=3, encoder=192, text=384, text_depth=4, film=768, heads=8
    ),
    "phone-300m": DenoiserConfig(
        fine=384, coarse=1024, depth=4, encoder=384, text=768, text_depth=8, film=1536, heads=16
    ),
}
