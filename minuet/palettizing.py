"""A student -> a palette for each layer: errors on whole clips, the best choice for the bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from minuet.contracts.errors import ParityError, RequestError
from minuet.contracts.tensors import Arrays
from minuet.nearness import decibels_of, error_with
from minuet.notes import Notes, Table
from minuet.quantize.energies import Energies, energies
from minuet.quantize.palettes import BITS, Palette, packed_bytes, palettize, to_arrays
from minuet.quantize.recipe import PALETTES
from minuet.quantize.runs import outputs
from minuet.quantize.search import Choice, Option, Options, front, smallest_error

if TYPE_CHECKING:
    from torch.fx import GraphModule

SEARCH, TRAINING = "search.json", "training.safetensors"
FRONT = (2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0)  # mean bits a weight
LEAST, MOST = 2.0, 8.0
WORDS = {bits: word for word, bits in PALETTES.items()}


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
    known = _known(graph_module, layers, clips.seen)
    table = _measured(graph_module, known, clips.seen, notes / SEARCH, steps.layer)
    options = options_of(table, known.weights)
    numbers = sum(weight.size for weight in known.weights.values())
    choice = smallest_error(options, int(asked.bits * numbers / 8))
    even = max(bits for bits in BITS if bits <= asked.bits)
    reference = outputs(graph_module, clips.held)

    def measured(palettes: Mapping[str, Palette], others: Arrays) -> float:
        made = {f"{layer}.weight": one.unpack() for layer, one in palettes.items()}
        return decibels_of(error_with(graph_module, {**made, **others}, clips.held, reference))

    rounded = {layer: known.palette(layer, word) for layer, word in choice.layers.items()}
    trained = _Trained(palettes=rounded)
    if asked.recovery:
        trained = _trained(graph_module, rounded, clips, asked, notes, steps)
    found = Found(
        layers=choice.layers,
        predicted_db=decibels_of(choice.error),
        rounded_db=measured(rounded, {}),
        measured_db=measured(trained.palettes, trained.others),
        trained=trained.steps,
        uniform_db=measured({name: known.palette(name, WORDS[even]) for name in layers}, {}),
        uniform_bits=even,
        size=choice.size,
        bits=choice.size * 8 / numbers,
        front=_front(options, numbers),
    )
    _insist(found, asked)
    return Palettized(found=found, errors=table, tensors=trained.tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Of each layer, its weight and the mean square of what that multiplies."""

    weights: Mapping[str, NDArray[Any]]
    heard: Energies

    def palette(self, layer: str, word: str) -> Palette:
        """What a treatment makes of a layer's weight."""
        return palettize(self.weights[layer], PALETTES[word], self.heard[layer])


def _known(graph_module: GraphModule, layers: Sequence[str], inputs: Sequence[Arrays]) -> _Known:
    parameter = graph_module.get_parameter
    weights = {layer: parameter(f"{layer}.weight").detach().numpy() for layer in layers}
    return _Known(weights=weights, heard=energies(graph_module, inputs))


def _measured(
    graph_module: GraphModule,
    known: _Known,
    inputs: Sequence[Arrays],
    path: Path,
    step: Callable[[], None],
) -> Table:
    """What each palette of each layer alone does to the frames."""
    notes = Notes(path, [known.weights, known.heard, *inputs])
    reference, table = outputs(graph_module, inputs), dict[str, dict[str, float]]()

    def error(layer: str, word: str) -> float:
        tensors = {f"{layer}.weight": known.palette(layer, word).unpack()}
        return error_with(graph_module, tensors, inputs, reference)

    for layer in known.weights:
        table[layer] = notes.measure(layer, list(PALETTES), error)
        step()
    return table


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trained:
    """Palettes by layer and other parameters by name, as training left them."""

    palettes: Mapping[str, Palette]
    others: Arrays = field(default_factory=dict)
    steps: int = 0  # that gave the best

    @property
    def tensors(self) -> Arrays:
        """For the recipe."""
        named = {f"{layer}.weight": one for layer, one in self.palettes.items()}
        return {**to_arrays(named), **self.others}


def _trained(
    graph_module: GraphModule,
    palettes: Mapping[str, Palette],
    clips: Clips,
    asked: Asked,
    notes: Path,
    steps: Steps,
) -> _Trained:
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
    return _Trained(palettes=made, others=others, steps=recovered.best)


def _front(options: Options, numbers: int) -> tuple[tuple[float, float], ...]:
    choices: list[Choice] = front(options, [int(bits * numbers / 8) for bits in FRONT])
    return tuple(
        (round(one.size * 8 / numbers, 3), round(decibels_of(one.error), 2)) for one in choices
    )
