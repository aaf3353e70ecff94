"""Few-step distillation: pairs keep their noise, only the student's levels are learnt."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minuet.distill import steps
from minuet.distill.augment import Augment
from minuet.distill.batch import Batch
from minuet.distill.ensemble import candidates
from minuet.distill.losses import Weights
from minuet.distill.objectives import answer
from minuet.distill.path import noise
from minuet.distill.steps import StepDistillation
from minuet.distill.store import ClipStore, write_shard
from minuet.models.compose import Fields
from minuet.models.denoiser import Context, Denoiser
from tests.distill.squares import FRAMES, MIRROR, squares
from tests.distill.test_ensemble import SEED as ASKED_SEED
from tests.distill.test_ensemble import Told, requests
from tests.models.tiny import denoiser

SIDE, SEED = 16, 5
LEVELS = (1.0, 0.6, 0.25, 0.0)
STRONG = Augment(mirror=1.0, recolour=1.0, shift=0.3, forget=1.0)


def objective(levels: Sequence[float] = LEVELS, seed: int = SEED) -> StepDistillation:
    return StepDistillation(
        levels=levels, seed=seed, augment=STRONG, mirror=MIRROR, weights=Weights(), bfloat16=False
    )


def numbered(*numbers: int) -> Batch:
    return replace(squares(len(numbers), SIDE), noise_B=torch.tensor(numbers))


class Seen:
    """What the network was given, call by call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[Tensor, Tensor, Batch]] = []
        inner = answer

        def watched(
            network: Denoiser, noisy: Tensor, t_B: Tensor, batch: Batch, *, bfloat16: bool
        ) -> tuple[Fields, Context]:
            self.calls.append((noisy, t_B, batch))
            return inner(network, noisy, t_B, batch, bfloat16=bfloat16)

        monkeypatch.setattr(steps, "answer", watched)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


def run(batch: Batch, seed: int = 0, levels: Sequence[float] = LEVELS) -> None:
    with torch.no_grad():
        objective(levels)(denoiser(), batch, torch.Generator().manual_seed(seed))


def test_pairs_start_from_exactly_the_noise_of_their_number(seen: Seen) -> None:
    numbers = (4, 0, 4, 11)
    for seed in (0, 1):
        run(numbered(*numbers), seed, levels=(1.0, 0.0))
    for noisy, _, _ in seen.calls:
        for row, number in zip(noisy, numbers, strict=True):
            assert torch.equal(row, noise(SEED, number, (FRAMES, 4, SIDE, SIDE)))


def test_pairs_lie_on_the_straight_line_from_their_noise_to_their_clip(seen: Seen) -> None:
    batch = numbered(4, 0, 7, 11)
    run(batch)
    noisy, t_B, _ = seen.calls[0]
    for at, number in enumerate((4, 0, 7, 11)):
        start = noise(SEED, number, (FRAMES, 4, SIDE, SIDE))
        clean = batch.clean_NCHW[at * FRAMES : (at + 1) * FRAMES] * 2 - 1
        assert_close(noisy[at], clean + t_B[at] * (start - clean), atol=1e-5, rtol=1e-5)


def test_pairs_are_left_as_they_are_and_lessons_are_augmented(seen: Seen) -> None:
    paired, lessons = numbered(3, 1), squares(2, SIDE)
    run(paired)
    run(lessons)
    assert seen.calls[0][2] is paired
    other = seen.calls[1][2]
    assert not other.tokens_BL.any() and (other.clean_NCHW != lessons.clean_NCHW).any()


def test_lessons_take_fresh_noise_that_the_generator_alone_decides(seen: Seen) -> None:
    for seed in (0, 0, 1):
        run(squares(2, SIDE), seed, levels=(1.0, 0.0))
    first, again, other = (noisy for noisy, _, _ in seen.calls)
    assert torch.equal(first, again) and (first != other).any()
    for number in (0, 1, 2):
        start = noise(SEED, number, (FRAMES, 4, SIDE, SIDE))
        assert (first != start).any() and (other != start).any()
    assert abs(float(first.mean())) < 0.1 and abs(float(first.std()) - 1) < 0.1


def test_a_batch_with_one_lesson_in_it_is_a_batch_of_lessons(seen: Seen) -> None:
    run(numbered(3, -1), levels=(1.0, 0.0))
    noisy, _, _ = seen.calls[0]
    assert (noisy[0] != noise(SEED, 3, (FRAMES, 4, SIDE, SIDE))).any()


def test_only_the_students_levels_are_used_and_all_but_the_last(seen: Seen) -> None:
    for seed in range(4):
        run(numbered(0, 1, 2, 3), seed)
        run(squares(4, SIDE), seed)
    for kind in (seen.calls[::2], seen.calls[1::2]):
        drawn = {round(float(t), 6) for _, t_B, _ in kind for t in t_B}
        assert drawn == {1.0, 0.6, 0.25}


def test_a_kept_candidate_is_learnt_from_the_noise_its_teacher_was_given(
    seen: Seen, tmp_path: Path
) -> None:
    told = Told("one")
    answers = list(candidates([told], requests(), ASKED_SEED, FRAMES))
    write_shard(tmp_path / "clips-00000.safetensors", [one.clip for one in answers], {})
    batch = ClipStore(tmp_path, 3).batch([2, 0, 1], torch.zeros(3))
    distil = objective((1.0, 0.0), seed=ASKED_SEED)
    with torch.no_grad():
        distil(denoiser(), batch, torch.Generator().manual_seed(0))
    given = told.asked[0][2]
    assert torch.equal(seen.calls[0][0], given[[2, 0, 1]])


@pytest.mark.parametrize("batch", [numbered(0, 1), squares(2, SIDE)], ids=["pairs", "lessons"])
def test_the_loss_is_the_weighted_sum_of_its_parts_and_reaches_the_weights(batch: Batch) -> None:
    network = denoiser().train()
    loss, parts = objective()(network, batch, torch.Generator().manual_seed(0))
    assert loss.isfinite() and set(parts) == set(Weights.__dataclass_fields__)
    expected = sum(getattr(Weights(), name) * value.item() for name, value in parts.items())
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    assert any(p.grad is not None and p.grad.any() for p in network.parameters())


def test_the_loss_falls_in_a_few_steps() -> None:
    network, batch, distil = denoiser().train(), numbered(0, 1), objective()

    def loss(seed: int) -> Tensor:
        return distil(network, batch, torch.Generator().manual_seed(seed))[0]

    def mean() -> float:
        with torch.no_grad():
            return sum(float(loss(seed)) for seed in (100, 101)) / 2

    before = mean()
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    for seed in range(15):
        optimizer.zero_grad()
        loss(seed).backward()
        optimizer.step()
    assert mean() < 0.8 * before
