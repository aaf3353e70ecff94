"""The search for a treatment of each layer, on a network whose layers differ in what they cost."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minuet.contracts.errors import ParityError, RequestError
from minuet.mixing import Frames, Mixed, Wanted, mix, weight_bytes
from minuet.notes import Notes
from minuet.quantize.calibrate import calibrate
from minuet.quantize.groups import pack4
from minuet.quantize.scales import pack
from tests.minuet.test_palettizing import LAYERS, clips, program

# What `texture` saves in int8 is most of what there is to save.
TIMES = {
    "fp32": {"where": 1e-3, "texture": 8e-3, "last": 1e-3},
    "int8": {"where": 0.5e-3, "texture": 2e-3, "last": 0.5e-3},
}
ALL = ("where", "texture", "last")


@pytest.fixture(scope="module")
def frames() -> Frames:
    graph = program()
    graph.requires_grad_(False)
    return Frames(graph, calibrate(graph, clips(4)))


def found(frames: Frames, folder: Path, floor_db: float, share: float = 1.0) -> Mixed:
    seen, held = clips(3), clips(3, seed=1)
    notes = Notes(folder / "notes", seen)
    wanted = Wanted(floor_db=floor_db, share=share)
    return mix(frames, ALL, seen, held, wanted, notes, lambda: None, TIMES)[0]


def test_all_layers_are_searched() -> None:
    assert set(LAYERS) == set(ALL)


def test_what_saves_time_and_costs_little_is_int8(frames: Frames, tmp_path: Path) -> None:
    made = found(frames, tmp_path, 30.0)
    assert made.layers["texture"] == "int8"
    assert made.chosen.measured_db is not None and made.chosen.measured_db >= 30.0
    assert made.chosen.seconds < made.float_seconds / 2


def test_a_higher_floor_takes_more_time_and_is_kept(frames: Frames, tmp_path: Path) -> None:
    low, high = (found(frames, tmp_path, db) for db in (25.0, 56.0))
    assert high.chosen.measured_db is not None and high.chosen.measured_db >= 56.0
    assert low.chosen.seconds < high.chosen.seconds


def test_fewer_bytes_than_int8_need_int4(frames: Frames, tmp_path: Path) -> None:
    made = found(frames, tmp_path, 5.0, share=0.24)
    assert "weights4" in made.layers.values()
    assert made.chosen.size <= 0.24 * made.float_size


def test_of_the_bytes_of_int8_for_all_the_choice_is_nearer(frames: Frames, tmp_path: Path) -> None:
    made = found(frames, tmp_path, 20.0)
    assert made.equal.size <= made.uniform.size
    assert made.equal.measured_db is not None and made.uniform.measured_db is not None
    assert made.equal.measured_db > made.uniform.measured_db


def test_the_front_loses_time_and_nearness_together(frames: Frames, tmp_path: Path) -> None:
    rows = found(frames, tmp_path, 20.0).front
    assert len(rows) > 1
    for slower, faster in pairwise(rows):
        assert faster.seconds < slower.seconds
        assert faster.predicted_db < slower.predicted_db


def test_a_floor_that_nothing_so_small_keeps_is_refused(frames: Frames, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"the best choice within the bytes is .* dB.*60 dB are"):
        found(frames, tmp_path, 60.0, share=0.14)


def test_what_was_measured_is_not_measured_again(
    frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = found(frames, tmp_path, 30.0)
    alone: list[dict[str, str]] = []
    error = Frames.error

    def counted(self: Frames, layers: Any, *others: Any) -> float:
        if len(layers) == 1:
            alone.append(layers)
        return error(self, layers, *others)

    monkeypatch.setattr(Frames, "error", counted)
    again = found(frames, tmp_path, 30.0)
    assert (again.layers, again.chosen) == (first.layers, first.chosen)
    assert not alone


def test_with_bytes_as_the_goal_the_smallest_that_is_near_enough_is_taken(
    frames: Frames, tmp_path: Path
) -> None:
    seen, held = clips(3), clips(3, seed=1)
    made = {}
    for floor_db in (20.0, 45.0):
        wanted = Wanted(floor_db=floor_db, treatments=("weights", "weights4"), goal="size")
        notes = Notes(tmp_path / f"{floor_db}", seen)
        made[floor_db], _ = mix(frames, ALL, seen, held, wanted, notes, lambda: None)
        assert made[floor_db].chosen.measured_db >= floor_db  # type: ignore[operator]
        assert "int8" not in made[floor_db].layers.values()
        assert made[floor_db].float_seconds == made[floor_db].chosen.seconds == 0
    assert made[20.0].chosen.size < made[45.0].chosen.size


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(RequestError, match="above 0 and at most 1"):
        Wanted(floor_db=30.0, share=share)


def test_bytes_are_those_of_the_codes_and_scales_that_are_stored() -> None:
    weight = np.random.default_rng(0).standard_normal((16, 40, 3, 3)).astype(np.float32)
    codes = pack(weight)
    assert weight_bytes("int8", weight.shape) == codes.codes.nbytes + codes.scales.nbytes
    assert weight_bytes("float", weight.shape) == weight.nbytes // 2
    assert weight_bytes("weights4", weight.shape) == pack4(weight).bytes
