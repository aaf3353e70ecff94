"""The search for palettes on frames, against what uniform palettes do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.contracts.errors import ParityError, RequestError
from minuet.palettizing import Asked, frames_error, search
from minuet.quantize.palettes import palettize

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


def found(notes: Path, graph: Any | None = None, **asked: Any) -> Any:
    wish = Asked(**({"bits": 4.0, "floor_db": 0.0} | asked))
    seen, held = clips(3), clips(3, seed=1)
    return search(graph or program(), LAYERS, seen, held, wish, notes, lambda: None)


def test_bits_go_where_frames_need_them(tmp_path: Path) -> None:
    made, errors = found(tmp_path / "notes")
    assert made.bits <= 4 and set(errors) == set(LAYERS)
    width = {name: int(word.removeprefix("palette")) for name, word in made.layers.items()}
    assert width["where"] > width["texture"]
    assert made.measured_db > made.uniform_db + 3


def test_the_error_is_the_mean_square_of_what_is_seen() -> None:
    one = np.zeros((2, 4, 1, 1), np.uint8)
    other = one.copy()
    other[0] = 255  # the first frame is given
    other[1, :, 0, 0] = (255, 0, 0, 0)  # invisible
    assert frames_error([one], [other]) == 0
    other[1, :, 0, 0] = (255, 0, 0, 255)
    assert frames_error([one], [other]) == pytest.approx(0.5)


def test_the_program_is_left_as_it_was(tmp_path: Path) -> None:
    graph = program()
    image = torch.from_numpy(clips(1)[0]["image"])
    before = graph(image)
    found(tmp_path / "notes", graph)
    assert torch.equal(graph(image), before)


def test_an_interrupted_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found(tmp_path / "whole")
    calls: list[int] = []

    def stopping() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(
            program(), LAYERS, clips(3), clips(3, 1), Asked(bits=4, floor_db=0),
            tmp_path / "notes", stopping,
        )  # fmt: skip
    measured: list[int] = []

    def watched(weight: Any, bits: int) -> Any:
        measured.append(bits)
        return palettize(weight, bits)

    monkeypatch.setattr("minuet.palettizing.palettize", watched)
    assert found(tmp_path / "notes") == whole
    one_layer, choice_and_uniform = 5, 6
    assert len(measured) == one_layer + choice_and_uniform


def test_notes_of_other_weights_are_not_believed(tmp_path: Path) -> None:
    whole = found(tmp_path / "notes")
    graph = program()
    with torch.no_grad():
        graph.get_parameter("where.weight").mul_(2)
    assert found(tmp_path / "notes", graph)[1] != whole[1]


def test_below_the_floor_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"dB are asked for. Nothing was written"):
        found(tmp_path / "notes", bits=2.5, floor_db=80.0)


@pytest.mark.parametrize("bits", [1.9, 8.1, float("nan")])
def test_a_width_that_no_palette_has_is_refused(bits: float) -> None:
    with pytest.raises(RequestError, match="--bits is from 2 to 8"):
        Asked(bits=bits, floor_db=30)


def test_too_few_clips_are_refused(tmp_path: Path) -> None:
    empty: Sequence[Any] = []
    with pytest.raises(RequestError, match="there are none"):
        search(
            program(), LAYERS, empty, empty, Asked(bits=4, floor_db=0), tmp_path / "n", lambda: None
        )
