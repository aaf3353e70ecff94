"""The search for palettes on frames, against what uniform palettes do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.errors import ParityError, RequestError
from minuet.nearness import decibels_of, error_with
from minuet.palettizing import (
    SEARCH,
    Asked,
    Clips,
    Palettized,
    Steps,
    search,
)
from minuet.quantize.palettes import palettize, unpacked
from minuet.quantize.runs import outputs

LAYERS = ("where", "texture", "last")


class Frames(nn.Module):
    """Image (1, 4, 8, 8) -> three uint8 frames, of which the first is the image.

    `where` decides what is seen, `texture` adds a little to it.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.where = nn.Conv2d(4, 16, 3, padding=1)
        self.texture = nn.Conv2d(4, 64, 3, padding=1)
        self.last = nn.Conv2d(80, 8, 1)

    def forward(self, image: Tensor) -> Tensor:
        seen = torch.cat([4 * torch.tanh(4 * self.where(image)), 0.05 * self.texture(image)], 1)
        later = torch.sigmoid(self.last(seen)).reshape(2, 4, 8, 8)
        return (torch.cat([image, later]) * 255).clamp(0, 255).to(torch.uint8)


def clips(count: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [{"image": rng.random((1, 4, 8, 8), dtype=np.float32)} for _ in range(count)]


def program() -> Any:
    example = (torch.from_numpy(clips(1)[0]["image"]),)
    return torch.export.export(Frames().eval(), example, strict=False).module()


SEEN, HELD = clips(3), clips(3, seed=1)
DRAWN = Clips(seen=SEEN, held=HELD, training=lambda at: clips(1, seed=10 + at)[0])


def made(
    notes: Path, graph: Any | None = None, steps: Steps | None = None, **asked: Any
) -> Palettized:
    wish = Asked(**({"bits": 4.0, "floor_db": 0.0} | asked))
    return search(graph or program(), LAYERS, DRAWN, wish, notes, steps)


def same(one: Palettized, other: Palettized) -> bool:
    stored = [{name: v.tobytes() for name, v in run.tensors.items()} for run in (one, other)]
    return stored[0] == stored[1] and (one.found, one.errors) == (other.found, other.errors)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Palettized:
    return made(tmp_path_factory.mktemp("whole") / "notes")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Palettized:
    return made(tmp_path_factory.mktemp("trained") / "notes", recovery=50)


def test_bits_go_where_frames_need_them(whole: Palettized) -> None:
    found = whole.found
    assert found.bits <= 4 and set(whole.errors) == set(LAYERS)
    width = {name: int(word.removeprefix("palette")) for name, word in found.layers.items()}
    assert width["where"] > width["texture"]
    assert found.measured_db > found.uniform_db + 3
    assert found.measured_db == found.rounded_db and found.trained == 0


def test_what_is_stored_is_what_was_measured(whole: Palettized, trained: Palettized) -> None:
    graph = program()
    reference = outputs(graph, HELD)
    for one in (whole, trained):
        weights = unpacked(one.tensors, "here")
        assert decibels_of(error_with(graph, weights, HELD, reference)) == one.found.measured_db
        for layer, word in one.found.layers.items():
            colours = np.unique(weights[f"{layer}.weight"])
            assert len(colours) <= 2 ** int(word.removeprefix("palette"))
    assert {name.partition(".weight")[0] for name in whole.tensors} == set(LAYERS)
    assert {f"{layer}.bias" for layer in LAYERS} <= set(trained.tensors)


def test_training_gives_back_what_rounding_took(whole: Palettized, trained: Palettized) -> None:
    assert trained.found.layers == whole.found.layers
    assert trained.found.rounded_db == whole.found.measured_db
    assert trained.found.measured_db > whole.found.measured_db + 1
    assert 0 < trained.found.trained <= 50


def test_the_program_is_left_as_it_was(tmp_path: Path) -> None:
    graph = program()
    image = torch.from_numpy(clips(1)[0]["image"])
    before = graph(image)
    made(tmp_path / "notes", graph, recovery=3)
    assert torch.equal(graph(image), before)


def test_an_interrupted_search_goes_on(
    tmp_path: Path, whole: Palettized, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def stopping() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "notes", steps=Steps(layer=stopping))
    measured: list[int] = []

    def watched(weight: Any, bits: int, energies: Any) -> Any:
        measured.append(bits)
        return palettize(weight, bits, energies)

    monkeypatch.setattr("minuet.palettizing.palettize", watched)
    assert same(made(tmp_path / "notes"), whole)
    one_layer, choice_and_uniform = 5, 6
    assert len(measured) == one_layer + choice_and_uniform


def test_an_interrupted_training_goes_on(tmp_path: Path, trained: Palettized) -> None:
    calls: list[int] = []

    def stopping() -> None:
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "notes", recovery=50, steps=Steps(training=stopping))
    assert same(made(tmp_path / "notes", recovery=50), trained)


@pytest.mark.parametrize("tamper", [{"errors": ...}, {"errors": []}, {"errors": {"where": 3}}, {}])
def test_notes_that_say_nothing_are_passed_over(
    tmp_path: Path, whole: Palettized, tamper: dict[str, Any]
) -> None:
    notes = tmp_path / "notes"
    made(notes)
    value = json.loads((notes / SEARCH).read_text()) | tamper
    kept = {name: one for name, one in value.items() if one is not ...}
    (notes / SEARCH).write_text(json.dumps(kept) if tamper else "{")
    assert same(made(notes), whole)


def test_notes_of_other_weights_are_not_believed(tmp_path: Path, whole: Palettized) -> None:
    made(tmp_path / "notes")
    graph = program()
    with torch.no_grad():
        graph.get_parameter("where.weight").mul_(2)
    assert made(tmp_path / "notes", graph).errors != whole.errors


def test_below_the_floor_it_is_refused_and_what_was_measured_stays(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"dB are asked for. Nothing was written"):
        made(tmp_path / "notes", bits=2.5, floor_db=80.0)
    steps: list[int] = []

    def counted() -> None:
        steps.append(1)

    layers = json.loads((tmp_path / "notes" / SEARCH).read_text())["errors"]
    assert set(layers) == set(LAYERS)
    made(tmp_path / "notes", steps=Steps(layer=counted))
    assert len(steps) == len(LAYERS)


@pytest.mark.parametrize("bits", [1.9, 8.1, float("nan")])
def test_a_width_that_no_palette_has_is_refused(bits: float) -> None:
    with pytest.raises(RequestError, match="--bits is from 2 to 8"):
        Asked(bits=bits, floor_db=30)


def test_too_few_clips_are_refused(tmp_path: Path) -> None:
    none = Clips(seen=[], held=[], training=DRAWN.training)
    with pytest.raises(RequestError, match="there are none"):
        search(program(), LAYERS, none, Asked(bits=4, floor_db=0), tmp_path / "notes")
