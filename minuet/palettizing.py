"""A student -> a palette for each layer: errors on whole clips, the best choice for the bits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import ParityError, RequestError
from minuet.contracts.files import read_json, write_json
from minuet.contracts.pixels import premultiplied
from minuet.contracts.tensors import Arrays
from minuet.quantize.palettes import BITS, packed_bytes, palettize
from minuet.quantize.search import Choice, Option, Options, front, smallest_error
from minuet.quantize.sensitivity import outputs, sensitivities

if TYPE_CHECKING:
    from torch.fx import GraphModule

SEARCH = "search.json"
FRONT = (2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0)  # mean bits a weight
LEAST, MOST = 2.0, 8.0
Table = dict[str, dict[str, float]]  # layer -> treatment -> mean square that it adds to the frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a search for palettes is to find."""

    bits: float  # a weight, in the mean, tables included
    floor_db: float  # the least PSNR from the float student, on clips that no search saw

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
    measured_db: float  # on clips that the search did not see
    uniform_db: float  # the same clips with one width for all, the widest that fits
    uniform_bits: int
    size: int  # bytes of the weights, tables included
    bits: float  # a weight
    front: tuple[tuple[float, float], ...]  # mean bits, predicted dB


def search(
    graph_module: GraphModule,
    layers: Sequence[str],
    seen: Sequence[Arrays],
    held: Sequence[Arrays],
    asked: Asked,
    notes: Path,
    step: Callable[[], None],
) -> tuple[Found, Table]:
    """Measure every layer under every palette, choose, and measure the choice.

    Args:
        graph_module: the student's program, parameters by name; left as it was.
        seen: inputs to search on.
        held: others to measure the choice on.
        notes: where an interrupted search left what it knew; a file.

    Raises:
        RequestError: too few bits for any choice.
        ParityError: the best choice is below the floor.
    """
    weights = {
        name: graph_module.get_parameter(f"{name}.weight").detach().numpy() for name in layers
    }
    table = _measured(graph_module, weights, seen, notes, step)
    options = options_of(table, weights)
    numbers = sum(weight.size for weight in weights.values())
    choice = smallest_error(options, int(asked.bits * numbers / 8))
    measured = decibels(graph_module, choice.layers, held)
    even = max(bits for bits in BITS if bits <= asked.bits)
    found = Found(
        layers=choice.layers,
        predicted_db=choice.decibels,
        measured_db=measured,
        uniform_db=decibels(graph_module, dict.fromkeys(layers, f"palette{even}"), held),
        uniform_bits=even,
        size=choice.size,
        bits=choice.size * 8 / numbers,
        front=_front(options, numbers),
    )
    insist(found, asked)
    return found, table


def insist(found: Found, asked: Asked) -> None:
    """Refuse what is further from the float student than was allowed.

    Raises:
        ParityError: with what would help.
    """
    if found.measured_db < asked.floor_db:
        raise ParityError(
            f"palettes of {found.bits:.2f} bits a weight are {found.measured_db:.1f} dB from the "
            f"float student, and {asked.floor_db:g} dB are asked for. Nothing was written. "
            "Give more --bits, or a lower --floor."
        )


def options_of(table: Mapping[str, Mapping[str, float]], weights: Mapping[str, Any]) -> Options:
    """Errors and bytes of every palette of every layer."""
    return {
        layer: {
            f"palette{bits}": Option(
                error=table[layer][f"palette{bits}"], size=packed_bytes(weight.size, bits)
            )
            for bits in BITS
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
    graph_module: GraphModule, layers: Mapping[str, str], inputs: Sequence[Arrays]
) -> float:
    """PSNR of the frames with these palettes from those without."""
    import torch

    reference = outputs(graph_module, inputs)
    parameters = {name: graph_module.get_parameter(f"{name}.weight") for name in layers}
    originals = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            made = palettize(originals[name].numpy(), int(layers[name].removeprefix("palette")))
            parameter.data = torch.from_numpy(made.unpack())
        error = frames_error(outputs(graph_module, inputs), reference)
    finally:
        for name, parameter in parameters.items():
            parameter.data = originals[name]
    return -10 * math.log10(error) if error else math.inf


def write_search(folder: Path, found: Found, table: Table) -> None:
    """What was measured, beside the recipe."""
    write_json(folder / SEARCH, {**asdict(found), "errors": table})


def _measured(
    graph_module: GraphModule,
    weights: Mapping[str, NDArray[Any]],
    inputs: Sequence[Arrays],
    notes: Path,
    step: Callable[[], None],
) -> Table:
    """Every layer's errors; what is known of the same weights and inputs is not measured again."""
    key = _key(weights, inputs)
    kept = read_json(notes) if notes.is_file() else {}
    known: Table = kept["errors"] if isinstance(kept, dict) and kept.get("key") == key else {}
    ways = {layer: {f"palette{bits}": _palette_of(bits) for bits in BITS} for layer in weights}
    table: Table = {}
    for layer, errors in sensitivities(graph_module, inputs, ways, frames_error, known):
        table[layer] = errors
        write_json(notes, {"key": key, "errors": known | table})
        step()
    return table


def _palette_of(bits: int) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    return lambda weight: palettize(weight, bits).unpack()


def _front(options: Options, numbers: int) -> tuple[tuple[float, float], ...]:
    choices: list[Choice] = front(options, [int(bits * numbers / 8) for bits in FRONT])
    return tuple((round(one.size * 8 / numbers, 3), round(one.decibels, 2)) for one in choices)


def _key(weights: Mapping[str, NDArray[Any]], inputs: Sequence[Arrays]) -> str:
    digest = hashlib.sha256()
    for arrays in (weights, *inputs):
        for name, value in arrays.items():
            digest.update(name.encode() + str(value.shape).encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _visible(frames_TCHW: NDArray[Any]) -> NDArray[np.float32]:
    return premultiplied(np.moveaxis(frames_TCHW[1:], 1, -1))
