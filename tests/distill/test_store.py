"""Clips on disk: there and back, whole or refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from minuet.contracts.errors import DamagedError, RequestError
from minuet.distill import store
from minuet.distill.store import ClipStore, Known, fill, shard_path

SIDE, PARTS, WORDINGS = 8, 3, 2


@pytest.fixture(autouse=True)
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SHARD", 4)


def known(index: int) -> Known:
    rng = np.random.default_rng(index)
    return Known(
        frames_THWC=rng.integers(0, 256, (4, SIDE, SIDE, 4), dtype=np.uint8),
        part_THW=rng.integers(0, PARTS, (4, SIDE, SIDE), dtype=np.uint8),
        mask_THW=rng.random((4, SIDE, SIDE)) > 0.5,
        affine_TK23=rng.standard_normal((4, PARTS, 2, 3)).astype(np.float32),
        captions=(f"clip {index}", f"number {index}"),
        tokens_VL=np.array([[index, 1, 0], [index, 2, 0]], np.int32),
        noise=100 + index,
        source="test",
        scores={"merit": float(index)},
    )


def filled(folder: Path, clips: int) -> Path:
    list(fill(folder, clips, known, {"seed": 1}))
    return folder


def test_a_clip_comes_back_as_it_was(tmp_path: Path) -> None:
    clips = ClipStore(filled(tmp_path, 6), 6)
    batch = clips.batch([5, 0], torch.tensor([0.0, 0.99]))
    given = known(5)
    rgba = given.frames_THWC.astype(np.float32) / 255
    expected = np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1)
    np.testing.assert_allclose(batch.clean_NCHW[:4].permute(0, 2, 3, 1), expected, atol=1e-6)
    np.testing.assert_array_equal(batch.part_NHW[:4], given.part_THW)
    np.testing.assert_array_equal(batch.mask_NHW[:4] > 0, given.mask_THW)
    moved = batch.affine_NK6[:4].reshape(4, PARTS, 2, 3).numpy() + np.eye(3, dtype=np.float32)[:2]
    np.testing.assert_allclose(moved, given.affine_TK23, atol=1e-6)
    assert batch.tokens_BL.tolist() == [[5, 1, 0], [0, 2, 0]]
    assert batch.noise_B.tolist() == [105, 100]


def test_frames_that_were_permuted_come_back_in_their_order(tmp_path: Path) -> None:
    given = known(1)
    lying = np.ascontiguousarray(given.frames_THWC.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    clip = replace(given, frames_THWC=lying)
    store.write_shard(shard_path(tmp_path, 0), [clip, clip], {})
    found = load_file(shard_path(tmp_path, 0))["frames"]
    np.testing.assert_array_equal(found[1], given.frames_THWC)


def test_what_is_told_of_clips_is_told_of_the_asked_ones_only(tmp_path: Path) -> None:
    clips = ClipStore(filled(tmp_path, 8), 6)
    assert len(clips) == 6
    assert clips.column("noise").tolist() == [100, 101, 102, 103, 104, 105]
    assert [row[0] for row in clips.about("captions")] == [f"clip {n}" for n in range(6)]
    assert clips.about("scores")[-1] == {"merit": 5.0}


def test_the_same_clips_give_the_same_bytes(tmp_path: Path) -> None:
    filled(tmp_path / "a", 6)
    filled(tmp_path / "b", 6)
    for number in (0, 1):
        a, b = (shard_path(tmp_path / name, number).read_bytes() for name in "ab")
        assert a == b


def test_filling_makes_only_what_is_missing(tmp_path: Path) -> None:
    filled(tmp_path, 4)
    made: list[int] = []

    def make(index: int) -> Known:
        made.append(index)
        return known(index)

    assert list(fill(tmp_path, 6, make, {})) == [4, 6]
    assert made == [4, 5]


def test_a_shard_that_an_earlier_run_left_short_is_made_longer(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    assert len(ClipStore(filled(tmp_path, 6), 6)) == 6


def test_draws_depend_on_the_generator_alone(tmp_path: Path) -> None:
    clips = ClipStore(filled(tmp_path, 6), 6)
    one, two = (clips.draw(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.clean_NCHW, two.clean_NCHW)
    assert torch.equal(one.tokens_BL, two.tokens_BL)


def test_weights_choose_the_clips(tmp_path: Path) -> None:
    clips = ClipStore(filled(tmp_path, 6), 6)
    only = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    drawn = clips.draw(5, torch.Generator().manual_seed(3), only)
    assert drawn.noise_B.tolist() == [102] * 5


@pytest.mark.parametrize("size", [0, 5, 2000])
def test_a_truncated_shard_is_refused_by_name(tmp_path: Path, size: int) -> None:
    path = shard_path(filled(tmp_path, 4), 0)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DamagedError, match=r"clips-00000.safetensors: damaged .* remove it"):
        ClipStore(tmp_path, 4)
    with pytest.raises(DamagedError, match="remove it"):
        filled(tmp_path, 4)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda arrays: arrays.pop("affine"), "affine"),
        (lambda arrays: arrays.update(mask=arrays["mask"][:2]), "'mask': 2"),
    ],
)
def test_a_shard_with_an_array_missing_or_short_is_refused(
    tmp_path: Path, harm: Callable[[dict[str, torch.Tensor]], object], told: str
) -> None:
    path = shard_path(filled(tmp_path, 4), 0)
    arrays = load_file(path)
    harm(arrays)
    save_file({key: value.clone() for key, value in arrays.items()}, path)
    with pytest.raises(DamagedError, match=rf"clips-00000.safetensors: damaged .*{told}.*remove"):
        ClipStore(tmp_path, 4)


def test_too_few_clips_are_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="9 clips are needed, 6 are here"):
        ClipStore(filled(tmp_path, 6), 9)


def test_a_clip_of_which_no_parts_are_known_says_so(tmp_path: Path) -> None:
    def make(index: int) -> Known:
        return replace(known(index), truth=index % 2 == 0)

    list(fill(tmp_path, 6, make, {}))
    clips, middle = ClipStore(tmp_path, 6), torch.full((3,), 0.5)
    batch = clips.batch([3, 0, 5], middle)
    assert batch.truth_B is not None and batch.truth_B.tolist() == [False, True, False]
    assert clips.batch([0, 2, 4], middle).truth_B is None


def test_shards_from_before_know_the_truth_of_every_clip(tmp_path: Path) -> None:
    clips = ClipStore(filled(tmp_path, 4), 4)
    assert "truth" not in load_file(shard_path(tmp_path, 0))
    assert clips.batch([0, 1], torch.zeros(2)).truth_B is None


def test_a_truth_that_is_too_short_is_damage(tmp_path: Path) -> None:
    list(fill(tmp_path, 4, lambda index: replace(known(index), truth=False), {}))
    arrays = load_file(shard_path(tmp_path, 0))
    arrays["truth"] = arrays["truth"][:2].clone()
    save_file(arrays, shard_path(tmp_path, 0))
    with pytest.raises(DamagedError, match="'truth': 2"):
        ClipStore(tmp_path, 4)
