"""The script learns which way from words alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from minuet.distill.rehearse import rehearse
from minuet.distill.store import ClipStore, Known, shard_path, write_shard
from minuet.models.config import SIZES
from minuet.models.denoiser import Denoiser

TURN, LEFT, RIGHT = 5, 6, 7
TINY = replace(
    SIZES["demo"], side=16, fine=8, coarse=8, encoder=8, text=8, film=16, shuffle=4, landmarks=0
)


def turned(toward: float) -> Known:
    """A clip of nothing that turns; only its words and its motion matter here."""
    frames, parts, side = TINY.frames, TINY.parts, TINY.side
    affine = np.tile(np.eye(2, 3, dtype=np.float32), (frames, parts, 1, 1))
    angle = toward * np.sin(np.arange(frames) * 2 * np.pi / frames)
    affine[:, :, 0, 1], affine[:, :, 1, 0] = angle[:, None], -angle[:, None]
    tokens = np.zeros((1, TINY.tokens), np.int32)
    tokens[0, :2] = TURN, RIGHT if toward > 0 else LEFT
    return Known(
        frames_THWC=np.zeros((frames, side, side, 4), np.uint8),
        part_THW=np.zeros((frames, side, side), np.uint8),
        mask_THW=np.zeros((frames, side, side), np.bool_),
        affine_TK23=affine,
        captions=("",),
        tokens_VL=tokens,
    )


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    write_shard(shard_path(tmp_path, 0), [turned(side) for side in (-1.0, 1.0)] * 4, {})
    return ClipStore(tmp_path, 8)


def test_left_and_right_become_opposite_motions(store: ClipStore) -> None:
    torch.manual_seed(0)
    network = Denoiser(TINY)
    pictures = network.stem.weight.detach().clone()
    assert rehearse(network, store, 150, seed=0) < 0.01
    assert network.script is not None
    tokens = torch.zeros(2, TINY.tokens, dtype=torch.int32)
    tokens[:, 0] = TURN
    tokens[:, 1] = torch.tensor([LEFT, RIGHT])
    film = torch.zeros(2 * TINY.frames, TINY.film)
    told = network.script(network.script.words(tokens), film, None).reshape(2, TINY.frames, -1, 6)
    assert told[0, 2, 0, 1] < -0.3 and told[1, 2, 0, 1] > 0.3
    assert torch.equal(network.stem.weight, pictures)


def test_no_steps_change_nothing(store: ClipStore) -> None:
    network = Denoiser(TINY)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rehearse(network, store, 0, seed=0)
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_clips_that_are_never_drawn_teach_nothing(store: ClipStore) -> None:
    torch.manual_seed(0)
    network = Denoiser(TINY)
    right = torch.tensor([0.0, 1.0] * 4)  # of the store's clips every second one turns right
    rehearse(network, store, 150, seed=0, odds=right)
    assert network.script is not None
    tokens = torch.zeros(2, TINY.tokens, dtype=torch.int32)
    tokens[:, 0], tokens[:, 1] = TURN, torch.tensor([LEFT, RIGHT])
    film = torch.zeros(2 * TINY.frames, TINY.film)
    told = network.script(network.script.words(tokens), film, None).reshape(2, TINY.frames, -1, 6)
    assert told[1, 2, 0, 1] > 0.3 and told[0, 2, 0, 1] > 0


def test_an_anatomy_that_no_label_tells_is_read_in_the_sticker(store: ClipStore) -> None:
    torch.manual_seed(0)
    network = Denoiser(replace(TINY, landmarks=2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert store.column("anatomy").shape == (8, 0)
    assert rehearse(network, store, 150, seed=0) < 0.01
    changed = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
    assert changed and all(name.startswith("script.") for name in changed)
