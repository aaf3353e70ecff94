"""Studying stickers at rest teaches their parts and joints, and leaves motions alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from minuet.distill.store import ClipStore, Known, shard_path, write_shard
from minuet.distill.study import study
from minuet.models.denoiser import Denoiser
from tests.distill.squares import ANATOMY, MIRROR, NOTHING, squares
from tests.models.tiny import TINY

CONFIG = replace(TINY, encoder=16, vocabulary=64)


def known(clip: int) -> Known:
    """One of the squares' clips as it is stored; its squares are parts 1 and 2."""
    batch = squares(1, CONFIG.side)
    frames = batch.clean_NCHW.permute(0, 2, 3, 1).numpy()
    straight = np.concatenate([frames[..., :3] / frames[..., 3:].clip(1e-3), frames[..., 3:]], -1)
    tokens = np.zeros((1, CONFIG.tokens), np.int32)
    affine = batch.affine_NK6.reshape(CONFIG.frames, 3, 2, 3).numpy()
    return Known(
        frames_THWC=(straight.clip(0, 1) * 255).round().astype(np.uint8),
        part_THW=batch.part_NHW.numpy(),
        mask_THW=batch.mask_NHW.numpy() > 0,
        affine_TK23=(affine + np.eye(2, 3)).astype(np.float32),
        captions=("",),
        tokens_VL=tokens,
        anatomy_V=np.array(ANATOMY, np.float32),
    )


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    write_shard(shard_path(tmp_path, 0), [known(clip) for clip in range(4)], {})
    return ClipStore(tmp_path, 4)


def test_parts_and_joints_are_found_and_motions_untouched(store: ClipStore) -> None:
    torch.manual_seed(0)
    network = Denoiser(CONFIG)
    script = {k: v.clone() for k, v in network.script.state_dict().items()}  # type: ignore[union-attr]
    seen: list[dict[str, float]] = []
    study(network, store, 100, 0, NOTHING, MIRROR, lambda step, losses: seen.append(losses))
    assert set(seen[0]) == {"found", "points", "traits"}
    assert seen[-1]["found"] < 0.2 < seen[0]["found"]
    assert seen[-1]["points"] < 0.1 < seen[0]["points"]
    after = network.script.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(after[name], value) for name, value in script.items())


def test_the_same_seed_teaches_the_same(store: ClipStore) -> None:
    losses: list[list[float]] = []
    for _ in range(2):
        torch.manual_seed(0)
        seen: list[float] = []
        network = Denoiser(CONFIG)
        study(network, store, 3, 5, NOTHING, MIRROR, lambda step, row: seen.append(row["found"]))  # noqa: B023
        losses.append(seen)
    assert losses[0] == losses[1]
