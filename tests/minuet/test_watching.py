"""A watched training: numbers and sheets where they belong, each step of them once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from minuet.distill.loop import Trainer
from minuet.models.config import SIZES
from minuet.models.denoiser import Denoiser
from minuet.models.student import Sampler
from minuet.sheets import GAP, LINE, SIDE, STICKERS, Sheets, sheet
from minuet.watching import Watch
from tests.distill.squares import draw
from tests.distill.test_loop import OBJECTIVE, trainer

SAMPLER = Sampler(levels=(1.0, 0.0))


def test_a_sheet_shows_every_frame_of_every_sticker_over_white() -> None:
    clips = [np.full((8, SIDE, SIDE, 4), (200, 10, 10, alpha), np.uint8) for alpha in (255, 0)]
    page = np.asarray(sheet(clips, ["red", "nothing"]))
    assert page.shape == (GAP + 2 * (LINE + SIDE + GAP), GAP + 8 * (SIDE + GAP), 3)
    middle = GAP + LINE + SIDE // 2
    assert (page[middle, GAP : GAP + SIDE] == (200, 10, 10)).all()
    assert (page[middle + LINE + SIDE + GAP, GAP : GAP + SIDE] == 255).all()
    assert (page[GAP : GAP + LINE] != page[0, 0]).any()  # words


def test_sheets_are_numbered_whole_and_change_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Denoiser(SIZES["demo"])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    told: list[tuple[str, int]] = []

    class Note:
        def log(self, values: Any, step: int) -> None: ...
        def close(self) -> None: ...
        def picture(self, name: str, pixels_HWC: Any, step: int) -> None:
            told.append((name, step))

    show = Sheets(tmp_path, SAMPLER, [Note()])
    for step in (5, 5, 10):
        show(network, step)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["step-0000005.png", "step-0000010.png"]
    with Image.open(tmp_path / names[0]) as page:
        assert page.height == GAP + STICKERS * (LINE + SIDE + GAP)
    assert told == [("samples", 5), ("samples", 10)]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_what_is_no_sticker_network_has_no_sheet(tmp_path: Path) -> None:
    Sheets(tmp_path, SAMPLER)(nn.Linear(1, 1), 5)
    assert not list(tmp_path.iterdir())


def scalars(folder: Path) -> list[int]:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events: Any = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [one.step for one in events.Scalars("loss/flow")]


def test_a_run_that_goes_on_after_a_kill_tells_no_step_twice(tmp_path: Path) -> None:
    watch = Watch(sheet_minutes=0)

    def run(one: Trainer, until: int) -> None:
        def killed(step: int) -> None:
            if step == until:
                raise RuntimeError("killed")

        watch.run(one, OBJECTIVE, draw, SAMPLER, lambda progress: None, killed)

    with pytest.raises(RuntimeError, match="killed"):  # reported to step 4, saved at step 0
        run(trainer(tmp_path, save_seconds=1e9), 4)
    assert scalars(tmp_path) == [2, 4]
    two = trainer(tmp_path)
    assert two.resume() and two.step == 0
    run(two, -1)
    assert scalars(tmp_path) == [2, 4, 6]


def test_a_training_ends_with_a_sheet_where_there_are_any(tmp_path: Path) -> None:
    looked: list[int] = []
    for seconds in (1e9, float("inf")):
        trainer(tmp_path / str(seconds)).run(
            OBJECTIVE, draw, look=lambda average, step: looked.append(step), look_seconds=seconds
        )
    trainer(tmp_path / "often").run(
        OBJECTIVE, draw, look=lambda average, step: looked.append(step), look_seconds=0.0
    )
    assert looked == [6, 1, 2, 3, 4, 5, 6, 6]
