from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from minuet.benchmarks.judge import (  # noqa: E402  # torch comes with an extra
    JudgeNet,
    Words,
    load_judge,
    save_judge,
    shrunk,
)
from minuet.benchmarks.judge_train import (  # noqa: E402
    Labelled,
    accuracies,
    augmented,
    losses,
    recolored,
    tensor_of,
    train,
)
from minuet.contracts.errors import DamagedError  # noqa: E402

WORDS = Words(motions=("left", "right"), styles=("dark", "light"), colors=("red", "blue"))
SHIPPED = Path(__file__).parents[2] / "shipped" / "judge"


def clips(count: int, seed: int = 0) -> Labelled:
    """Squares that run left or right, dark or light, red or blue."""
    rng = np.random.default_rng(seed)
    motion, style, color = rng.integers(0, 2, (3, count))
    stack = np.zeros((count, 8, 64, 64, 4), np.uint8)
    for index in range(count):
        for t in range(8):
            x = 24 + (t if motion[index] else -t) * 3
            paint = [0, 0, 0, 255]
            paint[2 * color[index]] = 250 if style[index] else 110
            stack[index, t, 22:42, x : x + 16] = paint
    return Labelled(clips_NTSSC=stack, motion_N=motion, style_N=style, color_N=color)


@pytest.fixture
def net() -> JudgeNet:
    torch.manual_seed(0)
    found = JudgeNet(WORDS)
    found.eval()
    return found


def test_a_judge_comes_back_as_it_was_saved(net: JudgeNet, tmp_path: Path) -> None:
    save_judge(net, tmp_path, {"motion": 1.0})
    again = load_judge(tmp_path)
    clip = clips(1).clips_NTSSC[0]
    assert again.words == WORDS
    assert again.recognise(clip) == net.recognise(clip)
    for ours, theirs in zip(net.features(clip), again.features(clip), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=5e-3)  # weights are stored in half precision


def test_features_are_of_unit_length(net: JudgeNet) -> None:
    for layer in net.features(clips(1).clips_NTSSC[0]):
        lengths = np.linalg.norm(layer, axis=1)
        assert np.all((np.abs(lengths - 1) < 1e-4) | (lengths < 1e-4))


@pytest.mark.parametrize("spoil", ["truncate", "remove", "schema", "words"])
def test_a_damaged_judge_is_refused(net: JudgeNet, tmp_path: Path, spoil: str) -> None:
    save_judge(net, tmp_path, {})
    weights, told = tmp_path / "judge.safetensors", tmp_path / "judge.json"
    if spoil == "truncate":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif spoil == "remove":
        weights.unlink()
    elif spoil == "schema":
        told.write_text(told.read_text().replace('"schema": 1', '"schema": 99'))
    else:
        told.write_text(told.read_text().replace('"left",', ""))
    with pytest.raises(DamagedError, match=str(tmp_path)):
        load_judge(tmp_path)


@pytest.mark.parametrize("size", [64, 96, 128])
def test_any_size_is_averaged_down_premultiplied(size: int) -> None:
    frames = np.zeros((1, size, size, 4), np.uint8)
    frames[..., :3] = 200
    frames[:, : size // 2, :, 3] = 255
    found = shrunk(frames)
    assert found.shape == (1, 64, 64, 4)
    np.testing.assert_allclose(found[0, 10, 10], [200 / 255] * 3 + [1], atol=1e-5)
    np.testing.assert_allclose(found[0, 60, 10], 0, atol=1e-5)


def test_augmenting_moves_a_clip_a_little_and_keeps_its_first_frame_first() -> None:
    batch = tensor_of(clips(16).clips_NTSSC)
    found = augmented(batch, np.random.default_rng(0))
    assert found.shape == batch.shape
    before, after = (((x[:, 0, 3] + 1) / 2).mean().item() for x in (batch, found))
    assert after == pytest.approx(before, rel=0.1)
    assert not torch.equal(found, batch)


def test_recolouring_never_touches_alpha() -> None:
    batch = tensor_of(clips(4).clips_NTSSC)
    found = recolored(batch, np.random.default_rng(3))
    assert torch.equal(found[:, :, 3], batch[:, :, 3])
    assert torch.equal(found[:, :, :3].sum(2), batch[:, :, :3].sum(2))


def test_training_learns_what_the_labels_say() -> None:
    data = clips(16)
    torch.set_num_threads(1)
    short, long = (train(data, WORDS, seen=8 * n, batch=8, say=lambda _: None) for n in (1, 25))
    rng = np.random.default_rng
    before, after = (losses(net, data, np.arange(16), rng(5)).item() for net in (short, long))
    assert before > 1.8  # three coins: 3 log 2 = 2.08
    assert after < 0.75 * before


def test_accuracy_counts_what_recognise_would_answer(net: JudgeNet) -> None:
    data = clips(6)
    seen = [net.recognise(clip) for clip in data.clips_NTSSC]
    words = zip(seen, data.motion_N, data.style_N, data.color_N, strict=True)
    right = [
        (s.motion == WORDS.motions[m], s.style == WORDS.styles[y], s.color == WORDS.colors[c])
        for s, m, y, c in words
    ]
    found = accuracies(net, data)
    assert [found["motion"], found["style"], found["color"]] == np.mean(right, axis=0).tolist()


@pytest.mark.skipif(not (SHIPPED / "judge.json").exists(), reason="no judge is shipped")
def test_the_shipped_judge_recognises_true_clips_of_held_out_pairs() -> None:
    pytest.importorskip("PIL")
    from minuet.stickers.world import render_clip, sample

    torch.set_num_threads(1)
    judge = load_judge(SHIPPED).judge()
    right = {"motion": 0, "style": 0}
    for index in range(40):
        spec = sample(77, index, "test")
        seen = judge.recognise(render_clip(spec, 64).frames_THWC)
        right["motion"] += seen.motion == spec.motion
        right["style"] += seen.style == spec.style
    assert right["motion"] >= 38 and right["style"] >= 35


def test_the_shipped_judge_is_small() -> None:
    weights = SHIPPED / "judge.safetensors"
    assert not weights.exists() or weights.stat().st_size < 2_000_000
