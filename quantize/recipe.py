"""What was asked of a quantization -> a folder that replays it for every target."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import read_json, sha256_of, write_bytes, write_json
from minuet.contracts.tensors import Arrays, to_safetensors
from minuet.quantize.calibrate import Method, Ranges, from_bytes, to_bytes
from minuet.quantize.layers import matching
from minuet.quantize.palettes import BITS, unpacked
from minuet.quantize.schemes import check_scheme

SCHEMA = 2
RECIPE, RANGES, TENSORS = "recipe.json", "ranges.safetensors", "tensors.safetensors"
WEIGHED = "weighed.json"  # what it was measured to bring; not part of the recipe
MAX_BYTES = 4 << 30  # of ranges or of tensors; far above any student's
# What may become of a layer. weights: only they are int8; weights4: int4, in groups.
INT8, WEIGHTS, WEIGHTS4, FLOAT = "int8", "weights", "weights4", "float"
PALETTES = {f"palette{bits}": bits for bits in BITS}
TREATMENTS = (INT8, WEIGHTS, WEIGHTS4, FLOAT, *PALETTES)


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
    tensors_sha256: str = ""  # of the file of changed parameters
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
        if schema != SCHEMA:
            raise DamagedError(f"{where}: written by an older minuet; quantize again.")
        try:
            fields = {name: value[name] for name in cls.__dataclass_fields__}
            fields |= {name: tuple(fields[name]) for name in ("keep_float", "keep_activations")}
            return cls(**{**fields, "method": Method(**fields["method"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"{where}: damaged recipe ({error!r}); quantize again.") from error


def treatments(
    layers: Sequence[str],
    keep_float: Sequence[str],
    keep_activations: Sequence[str],
    treatment: str = INT8,
    among: Collection[str] | None = None,
) -> dict[str, str]:
    """Each layer's treatment: what the patterns do not name gets this one; float goes first.

    Args:
        among: the only layers that are treated; None: all.

    Raises:
        RequestError: a pattern matches no layer, or nothing is left to quantize.
    """
    floats, halves = matching(layers, keep_float), matching(layers, keep_activations)
    floats = (*floats, *(layer for layer in layers if among is not None and layer not in among))
    found = {
        layer: FLOAT if layer in floats else WEIGHTS if layer in halves else treatment
        for layer in layers
    }
    if set(found.values()) <= {FLOAT}:
        raise RequestError(f"nothing is quantized: {len(layers)} layers, all kept in float.")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A recipe and what belongs to it."""

    recipe: Recipe
    ranges: Ranges
    tensors: Arrays  # parameters that quantization changed, by name; float32


def write_recipe(
    folder: Path, recipe: Recipe, ranges: Ranges, tensors: Arrays | None = None
) -> Recipe:
    """Write recipe.json, ranges.safetensors and tensors.safetensors; the recipe with hashes.

    Args:
        tensors: of parameters that quantization changed, palettes as palettes.to_arrays has them.
    """
    write_bytes(folder / RANGES, to_bytes(ranges))
    write_bytes(folder / TENSORS, to_safetensors(tensors or {}))
    hashes = {"ranges_sha256": sha256_of(folder / RANGES)}
    hashes |= {"tensors_sha256": sha256_of(folder / TENSORS)}
    value = {**asdict(recipe), **hashes}
    write_json(folder / RECIPE, value)
    return Recipe.from_json(value, str(folder / RECIPE))


def read_recipe(folder: Path, student_sha256: str) -> Stored:
    """A recipe and its tensors, once they are known to belong to these weights.

    Raises:
        DamagedError: missing, damaged, tampered with, from a newer minuet, or of other weights.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    recipe = Recipe.from_json(read_json(folder / RECIPE), str(folder / RECIPE))
    ranges = _bytes(folder / RANGES, recipe.ranges_sha256)
    tensors = _bytes(folder / TENSORS, recipe.tensors_sha256)
    if recipe.student_sha256 != student_sha256:
        raise DamagedError(
            f"{folder}: {RECIPE} was calibrated on other weights "
            f"({recipe.student_sha256[:12]}, here are {student_sha256[:12]}); quantize again."
        )
    try:
        changed = unpacked(load(tensors), str(folder / TENSORS))
    except (SafetensorError, ValueError, TypeError) as error:
        raise DamagedError(f"{folder / TENSORS}: damaged ({error}); quantize again.") from error
    return Stored(recipe=recipe, ranges=from_bytes(ranges, str(folder / RANGES)), tensors=changed)


def _bytes(path: Path, sha256: str) -> bytes:
    """A file that is what the recipe says."""
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise DamagedError(f"{path}: missing, or too large; quantize again.")
    if sha256_of(path) != sha256:
        raise DamagedError(f"{path}: its hash is not the one in {RECIPE}; quantize again.")
    return path.read_bytes()


def read_weighed(folder: Path) -> dict[str, Any]:
    """What was measured of a quantized student; nothing where nobody did.

    Raises:
        DamagedError: not a mapping.
    """
    value = read_json(folder / WEIGHED) if (folder / WEIGHED).is_file() else {}
    if not isinstance(value, dict):
        raise DamagedError(f"{folder / WEIGHED}: damaged; quantize again.")
    return value


def is_quantized(folder: Path) -> bool:
    """Whether a student's folder says how it is quantized."""
    return (folder / RECIPE).is_file()


def precision_of(folder: Path) -> str:
    """What a student's artifacts are called once they are quantized; "" where nothing says how."""
    if not is_quantized(folder):
        return ""
    return Recipe.from_json(read_json(folder / RECIPE), str(folder / RECIPE)).scheme
