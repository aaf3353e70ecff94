"""A student -> a palette for each layer: errors on whole clips, the best choice for the bits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import DamagedError, ParityError, RequestError
from minuet.contracts.files import read_json, write_json
from minuet.contracts.pixels import premultiplied
from minuet.contracts.tensors import Arrays
from minuet.quantize.energies import Energies, energies
from minuet.quantize.palettes import BITS, Palette, packed_bytes, palettize, to_arrays
from minuet.quantize.recipe import PALETTES
from minuet.quantize.search import Choice, Option, Options, front, smallest_error
from minuet.quantize.sensitivity import changed, outputs, sensitivities

if TYPE_CHECKING:
    from torch.fx import GraphModule

SEARCH, TRAINING = "search.json", "training.safetensors"
FRONT = (2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0)  # mean bits a weight
LEAST, MOST = 2.0, 8.0
EXACT_DB = 120.0
WORDS = {bits: word for word, bits in PALETTES.items()}
Table = dict[str, dict[str, float]]  # layer -> treatment -> mean square that it adds to the frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a search for palettes is to find."""

    bits: float  # a weight, in the mean, tables included
    floor_db: float  # the least PSNR from the float student, on clips that no search saw
    recovery: int = 0  # steps of training behind the search

    def __post_init__(self) -> None:
        if not LEAST <= self.bits <= MOST:
            raise RequestError(f"--bits is from {LEAST:g} to {MOST:g} a weight, not {self.bits:g}.")
        if not math.isfinite(self.floor_db):
            raise RequestError(f"--floor is in dB, not {self.floor_db}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found; what it saw is in SEARCH, so that it can be replayed by hand."""

    layers: dict[str, str]  # treatment of each
    predicted_db: float  # from the layers' errors, as if each were alone
    rounded_db: float  # the choice, before any training, on clips that the search did not see
    measured_db: float  # the same clips with what is written
    trained: int  # steps that gave the best; 0: what is written was not trained
    uniform_db: float  # the same clips with one width for all, the widest that fits
    uniform_bits: int
    size: int  # bytes of the weights, tables included
    bits: float  # a weight
    front: tuple[tuple[float, float], ...]  # mean bits, predicted dB


@dataclass(frozen=True, slots=True, kw_only=True)
class Palettized:
    """A search's end."""

    found: Found
    errors: Table
    tensors: Arrays  # for the recipe: codes and tables, and other parameters that were trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """What is seen and when."""

    seen: Sequence[Arrays]  # to search on, and to choose the best of a training
    held: Sequence[Arrays]  # others, to measure what was found
    training: Callable[[int], Arrays]  # any number of others, by address from 0 on


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Who is told of progress: of a layer measured, of a step trained."""

    layer: Callable[[], None] = lambda: None
    training: Callable[[], None] = lambda: None


def search(
    graph_module: GraphModule,
    layers: Sequence[str],
    clips: Clips,
    asked: Asked,
    notes: Path,
    steps: Steps | None = None,
) -> Palettized:
    """Measure every layer under every palette, choose, train where asked, and measure the choice.

    Args:
        graph_module: the student's program, parameters by name; left as it was.
        notes: a folder for what an interrupted search goes on from. It is the caller's to remove
            once the result is kept; a search that is refused leaves it too, so that the next one,
            with more bits or steps, measures no layer again.

    Raises:
        RequestError: too few bits for any choice.
        ParityError: the best choice is below the floor.
    """
    steps = steps or Steps()
    weights = {
        name: graph_module.get_parameter(f"{name}.weight").detach().numpy() for name in layers
    }
    heard = energies(graph_module, clips.seen)
    table = _measured(graph_module, weights, heard, clips.seen, notes / SEARCH, steps.layer)
    options = options_of(table, weights)
    numbers = sum(weight.size for weight in weights.values())
    choice = smallest_error(options, int(asked.bits * numbers / 8))
    even = max(bits for bits in BITS if bits <= asked.bits)
    reference = outputs(graph_module, clips.held)

    def measured(palettes: Mapping[str, Palette], others: Arrays) -> float:
        made = {f"{layer}.weight": one.unpack() for layer, one in palettes.items()}
        return decibels(graph_module, {**made, **others}, clips.held, reference)

    rounded = {name: _palette(weights, heard, name, word) for name, word in choice.layers.items()}
    evenly = {name: _palette(weights, heard, name, WORDS[even]) for name in layers}
    palettes: Mapping[str, Palette] = rounded
    others: Arrays = {}
    trained = 0
    if asked.recovery:
        palettes, others, trained = _trained(graph_module, rounded, clips, asked, notes, steps)
    found = Found(
        layers=choice.layers,
        predicted_db=decibels_of(choice.error),
        rounded_db=measured(rounded, {}),
        measured_db=measured(palettes, others),
        trained=trained,
        uniform_db=measured(evenly, {}),
        uniform_bits=even,
        size=choice.size,
        bits=choice.size * 8 / numbers,
        front=_front(options, numbers),
    )
    _insist(found, asked)
    tensors = {**to_arrays({f"{name}.weight": one for name, one in palettes.items()}), **others}
    return Palettized(found=found, errors=table, tensors=tensors)


def _insist(found: Found, asked: Asked) -> None:
    """Refuse what is further from the float student than was allowed.

    Raises:
        ParityError: with what would help.
    """
    if found.measured_db < asked.floor_db:
        raise ParityError(
            f"palettes of {found.bits:.2f} bits a weight are {found.measured_db:.1f} dB from the "
            f"float student, and {asked.floor_db:g} dB are asked for. Nothing was written. "
            "Give more --bits, steps to --recover, or a lower --floor."
        )


def options_of(table: Mapping[str, Mapping[str, float]], weights: Mapping[str, Any]) -> Options:
    """Errors and bytes of every palette of every layer."""
    return {
        layer: {
            word: Option(error=table[layer][word], size=packed_bytes(weight.size, bits))
            for word, bits in PALETTES.items()
        }
        for layer, weight in weights.items()
    }


def frames_error(made: Sequence[NDArray[Any]], reference: Sequence[NDArray[Any]]) -> float:
    """Mean square difference of premultiplied frames in 0..1; the first is given, and left out."""
    squares = [
        np.square(_visible(one) - _visible(two)).mean(dtype=np.float64)
        for one, two in zip(made, reference, strict=True)
    ]
    return float(np.mean(squares))


def decibels(
    graph_module: GraphModule,
    tensors: Arrays,
    inputs: Sequence[Arrays],
    reference: Sequence[NDArray[Any]],
) -> float:
    """PSNR of the frames with other values in some parameters from those without."""
    with changed(graph_module, tensors):
        return decibels_of(frames_error(outputs(graph_module, inputs), reference))


def decibels_of(error: float) -> float:
    """PSNR of a mean square error; what is the same is EXACT_DB, which JSON can say."""
    return min(-10 * math.log10(error), EXACT_DB) if error else EXACT_DB


def told(found: Found) -> str:
    """What a search came to, in a line."""
    steps = f" after {found.trained} steps of training ({found.rounded_db:.1f} before)"
    return (
        f"{found.bits:.2f} bits a weight, {found.size / 1e6:.2f} MB of weights, "
        f"{found.measured_db:.1f} dB from the float student{steps if found.trained else ''} "
        f"({found.uniform_bits} bits for all: {found.uniform_db:.1f} dB)"
    )


def _trained(
    graph_module: GraphModule,
    palettes: Mapping[str, Palette],
    clips: Clips,
    asked: Asked,
    notes: Path,
    steps: Steps,
) -> tuple[Mapping[str, Palette], Arrays, int]:
    """Palettes and other parameters that training made better, and its steps."""
    from minuet.quantize.recover import Course, recover
    from minuet.quantize.trainees import floating, of_palettes, trained_palettes

    recovered = recover(
        of_palettes(graph_module, palettes),
        floating(graph_module),
        clips.training,
        clips.seen,
        Course(steps=asked.recovery),
        notes / TRAINING,
        step=steps.training,
    )
    made, others = trained_palettes(recovered.numbers, palettes)
    return made, others, recovered.best


def _measured(
    graph_module: GraphModule,
    weights: Mapping[str, NDArray[Any]],
    heard: Energies,
    inputs: Sequence[Arrays],
    notes: Path,
    step: Callable[[], None],
) -> Table:
    """Every layer's errors; what is known of the same weights and inputs is not measured again."""
    key = _key(weights, heard, *inputs)
    known = _known(notes, key)
    ways = {
        layer: {word: _way(weights, heard, layer, word) for word in PALETTES} for layer in weights
    }
    table: Table = {}
    for layer, errors in sensitivities(graph_module, inputs, ways, frames_error, known):
        table[layer] = errors
        write_json(notes, {"key": key, "errors": known | table})
        step()
    return table


def _known(notes: Path, key: str) -> Table:
    """What notes hold; nothing where they are damaged, or of other weights or inputs."""
    try:
        kept = read_json(notes)
        if not isinstance(kept, dict) or kept.get("key") != key:
            return {}
        errors = kept.get("errors", {})
        known = {name: {word: float(row[word]) for word in row} for name, row in errors.items()}
    except (DamagedError, ValueError, TypeError, AttributeError):
        return {}
    finite = all(math.isfinite(error) for row in known.values() for error in row.values())
    return known if finite else {}


def _palette(
    weights: Mapping[str, NDArray[Any]], heard: Energies, layer: str, word: str
) -> Palette:
    return palettize(weights[layer], PALETTES[word], heard[layer])


def _way(
    weights: Mapping[str, NDArray[Any]], heard: Energies, layer: str, word: str
) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    return lambda _: _palette(weights, heard, layer, word).unpack()


def _front(options: Options, numbers: int) -> tuple[tuple[float, float], ...]:
    choices: list[Choice] = front(options, [int(bits * numbers / 8) for bits in FRONT])
    return tuple(
        (round(one.size * 8 / numbers, 3), round(decibels_of(one.error), 2)) for one in choices
    )


def _key(*named: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for arrays in named:
        for name, value in arrays.items():
            digest.update(name.encode() + str(value.shape).encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _visible(frames_TCHW: NDArray[Any]) -> NDArray[np.float32]:
    return premultiplied(np.moveaxis(frames_TCHW[1:], 1, -1))
