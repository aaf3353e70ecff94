"""What was asked of a quantization -> a folder that replays it for every target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import read_json, sha256_of, write_bytes, write_json
from minuet.quantize.calibrate import Method, Ranges, from_bytes, to_bytes
from minuet.quantize.layers import matching
from minuet.quantize.palettes import BITS

SCHEMA = 1
RECIPE, RANGES = "recipe.json", "ranges.safetensors"
MAX_RANGES = 64 << 20  # bytes; far above any network's
INT8, WEIGHTS, FLOAT = "int8", "weights", "float"
PALETTES = {f"palette{bits}": bits for bits in BITS}
TREATMENTS = (INT8, WEIGHTS, FLOAT, *PALETTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A row of the table of schemes: what becomes of weights and activations, and for whom."""

    weights: str
    activations: str
    targets: tuple[str, ...]
    precision: str  # what an artifact of it is called


SCHEMES = {
    "int8": Scheme(
        weights="int8 per output channel, symmetric",
        activations="int8 per tensor and call, static, with a zero point; some layers float",
        targets=("onnx", "executorch"),
        precision="int8",
    ),
    "palettes": Scheme(
        weights="each layer a palette of 2 to 8 bits, shared out where the clips need them most",
        activations="float16",
        targets=("coreml",),
        precision="palette",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A calibrated quantization of one student; what a target needs to replay it."""

    scheme: str
    keep_float: tuple[str, ...]  # patterns: these layers stay as they are
    keep_activations: tuple[str, ...]  # patterns: of these only the weights become int8
    layers: dict[str, str]  # what the patterns came to: each layer's name and its treatment
    method: Method
    clips: int  # calibrated on
    seed: int
    student_sha256: str  # of the weights; ranges of other weights are worthless
    ranges_sha256: str = ""  # of the ranges file; "" before it is written
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        check_scheme(self.scheme)
        unknown = sorted(set(self.layers.values()) - set(TREATMENTS))
        if unknown:
            raise RequestError(f"a layer is one of {', '.join(TREATMENTS)}, not {unknown}.")

    @classmethod
    def from_json(cls, value: Any, where: str) -> Recipe:
        """The reverse of asdict.

        Raises:
            DamagedError: not a recipe, or a newer schema.
        """
        if not isinstance(value, Mapping):
            raise DamagedError(f"{where}: not a quantization recipe.")
        schema = value.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise DamagedError(
                f"{where}: written by a newer minuet (schema {schema}, this one reads {SCHEMA}); "
                "upgrade minuet."
            )
        try:
            fields = {name: value[name] for name in cls.__dataclass_fields__}
            fields |= {name: tuple(fields[name]) for name in ("keep_float", "keep_activations")}
            return cls(**{**fields, "method": Method(**fields["method"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"{where}: damaged recipe ({error!r}); quantize again.") from error


def treatments(
    layers: Sequence[str], keep_float: Sequence[str], keep_activations: Sequence[str]
) -> dict[str, str]:
    """Each layer's treatment: what the patterns do not name becomes int8; float goes first.

    Raises:
        RequestError: a pattern matches no layer, or nothing is left to quantize.
    """
    floats, halves = matching(layers, keep_float), matching(layers, keep_activations)
    found = {
        layer: FLOAT if layer in floats else WEIGHTS if layer in halves else INT8
        for layer in layers
    }
    if set(found.values()) <= {FLOAT}:
        raise RequestError(f"nothing is quantized: {len(layers)} layers, all kept in float.")
    return found


def check_scheme(name: str, targets: Sequence[str] = ()) -> None:
    """Refuse a scheme that is not in the table, or not for these targets.

    Raises:
        RequestError: says what there is.
    """
    if name not in SCHEMES:
        raise RequestError(f"the scheme {name!r} is not known; choose from {', '.join(SCHEMES)}.")
    refused = [target for target in targets if target not in SCHEMES[name].targets]
    if refused:
        raise RequestError(
            f"{name} is not made for {', '.join(refused)}; it is for "
            f"{', '.join(SCHEMES[name].targets)}."
        )


def write_recipe(folder: Path, recipe: Recipe, ranges: Ranges) -> Recipe:
    """Write recipe.json and ranges.safetensors into a folder; the recipe with its hash."""
    write_bytes(folder / RANGES, to_bytes(ranges))
    value = {**asdict(recipe), "ranges_sha256": sha256_of(folder / RANGES)}
    write_json(folder / RECIPE, value)
    return Recipe.from_json(value, str(folder / RECIPE))


def read_recipe(folder: Path, student_sha256: str) -> tuple[Recipe, Ranges]:
    """A recipe and its ranges, once they are known to belong to these weights.

    Raises:
        DamagedError: missing, damaged, tampered with, from a newer minuet, or of other weights.
    """
    recipe = Recipe.from_json(read_json(folder / RECIPE), str(folder / RECIPE))
    path = folder / RANGES
    if not path.is_file() or path.stat().st_size > MAX_RANGES:
        raise DamagedError(f"{path}: missing, or too large; quantize again.")
    if sha256_of(path) != recipe.ranges_sha256:
        raise DamagedError(f"{path}: its hash is not the one in {RECIPE}; quantize again.")
    if recipe.student_sha256 != student_sha256:
        raise DamagedError(
            f"{folder}: {RECIPE} was calibrated on other weights "
            f"({recipe.student_sha256[:12]}, here are {student_sha256[:12]}); quantize again."
        )
    return recipe, from_bytes(path.read_bytes(), str(path))


def is_quantized(folder: Path) -> bool:
    """Whether a student's folder says how it is quantized."""
    return (folder / RECIPE).is_file()


def precision_of(folder: Path) -> str:
    """What a student's artifacts are called once they are quantized; "" where nothing says how."""
    if not is_quantized(folder):
        return ""
    recipe = Recipe.from_json(read_json(folder / RECIPE), str(folder / RECIPE))
    return SCHEMES[recipe.scheme].precision
