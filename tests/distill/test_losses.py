"""Losses: nothing at the truth, the right amount beside it."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from minuet.distill import losses
from minuet.distill.batch import Batch
from minuet.distill.losses import Weights, composition_losses, guided, total
from minuet.models.compose import DENSE_SCALE, Fields, crisp, warp_crisp
from tests.distill.squares import squares

NOTHING = 2e-3  # the gate's logit and the bounded masks leave a trace


def truth() -> tuple[Batch, Fields]:
    """A batch whose frames are exactly what its fields compose."""
    batch = squares()
    first = batch.sticker_BCHW.repeat_interleave(batch.frames, dim=0)
    visible = batch.visible_NHW(batch.flow_N2HW)[:, None]
    moved = warp_crisp(crisp(first), batch.flow_N2HW)
    batch = replace(batch, clean_NCHW=torch.where(visible > 0, moved, batch.clean_NCHW))
    n, k, side = len(first), batch.affine_NK6.shape[1], first.shape[-1]
    labels = torch.nn.functional.one_hot(batch.part_NHW.long(), k).permute(0, 3, 1, 2)
    fields = Fields(
        affine_NK6=batch.affine_NK6,
        parts_NKHW=(labels * 2.0 - 1) * 20,
        dense_N2HW=torch.zeros(n, 2, side, side),
        gate_N1HW=(visible * 2 - 1) * 20,
        paint_NCHW=batch.clean_NCHW,
    )
    return batch, fields


def test_every_loss_is_nothing_at_the_truth() -> None:
    batch, fields = truth()
    for name, value in composition_losses(fields, batch, torch.tensor([0.9, 0.1])).items():
        assert 0 <= value < NOTHING, name


@pytest.mark.parametrize("name", ["flow", "dense"])
def test_a_flow_beside_the_truth_costs_its_distance(name: str) -> None:
    batch, fields = truth()
    fields = replace(fields, dense_N2HW=fields.dense_N2HW + 1.0)
    found = composition_losses(fields, batch, torch.ones(2))[name]
    expected = {"flow": 2 * DENSE_SCALE, "dense": 1.0}[name]
    assert found == pytest.approx(expected, abs=NOTHING)


def test_a_motion_beside_the_truth_costs_its_distance_squared() -> None:
    batch, fields = truth()
    beside = fields.affine_NK6.clone()
    beside[:, :, 2] += 0.25
    fields = replace(fields, affine_NK6=beside)
    found = composition_losses(fields, batch, torch.ones(2))["affine"]
    assert found == pytest.approx(0.25**2, abs=NOTHING)


def test_motions_cost_what_their_parts_flows_are_apart_and_parts_count_alike() -> None:
    batch, fields = truth()
    rng = torch.Generator().manual_seed(3)
    off = torch.randn(fields.affine_NK6.shape, generator=rng) * 0.1
    found = losses.affine_loss(batch.affine_NK6 + off, batch, batch.near_NHW)
    moved = replace(batch, affine_NK6=batch.affine_NK6 + off)
    squared = (moved.flow_N2HW - batch.flow_N2HW).square().sum(1)
    means = []
    for frame in range(len(squared)):
        for part in range(3):
            share = batch.near_NHW[frame] * (batch.part_NHW[frame] == part)
            if share.sum() >= losses.SMALLEST:
                means.append((squared[frame] * share).sum() / share.sum())
    assert len(means) > len(squared)
    assert_close(found, torch.stack(means).mean())


def test_motions_learn_from_their_labels_alone() -> None:
    batch, fields = truth()
    affine = (fields.affine_NK6 + 0.1).requires_grad_()
    found = composition_losses(replace(fields, affine_NK6=affine), batch, torch.ones(2))
    learnt_by = [
        name
        for name, value in found.items()
        if value.requires_grad and torch.autograd.grad(value, affine, retain_graph=True)[0].any()
    ]
    assert learnt_by == ["affine"]


def test_masks_that_know_nothing_cost_the_entropy() -> None:
    batch, fields = truth()
    fields = replace(fields, parts_NKHW=fields.parts_NKHW * 0)
    found = composition_losses(fields, batch, torch.ones(2))["parts"]
    assert found == pytest.approx(float(torch.log(torch.tensor(3.0))), abs=NOTHING)


def test_the_clip_loss_is_the_velocity_loss_where_it_is_not_clipped() -> None:
    clean, answer, noise = torch.randn(3, 8, 4, 2, 2).unbind()
    t = torch.tensor([0.5, 0.8])
    at = t.repeat_interleave(4)[:, None, None, None]
    noisy = (1 - at) * clean + at * noise
    velocity = (noisy - answer) / at
    expected = (velocity - (noise - clean)).square().mean()
    assert_close(losses.clip_loss(answer, clean, t), expected)
    lowest = losses.LOWEST_LEVEL
    low = losses.clip_loss(answer, clean, torch.tensor([0.01, lowest]))
    assert_close(low, (answer - clean).square().mean() / lowest**2)


def test_guidance_is_linear() -> None:
    _, a = truth()
    b = a * 0.5
    assert_close(guided(a, b, 1.0).affine_NK6, a.affine_NK6)
    assert_close(guided(a, b, 0.0).paint_NCHW, b.paint_NCHW)
    assert_close(guided(a, b, 3.0).gate_N1HW, b.gate_N1HW + 3 * (a.gate_N1HW - b.gate_N1HW))


def test_the_total_weighs_every_loss() -> None:
    batch, fields = truth()
    found = composition_losses(fields * 0.5, batch, torch.ones(2))
    weights = Weights()
    expected = sum(getattr(weights, name) * float(value) for name, value in found.items())
    assert float(total(found, weights)) == pytest.approx(expected)
    assert set(found) | {"found", "points", "traits"} == set(Weights.__dataclass_fields__)


LABELLED = ("flow", "affine", "parts", "gate", "paint")


def gradients(batch: Batch, fields: Fields, *names: str) -> dict[str, torch.Tensor]:
    """Of the named losses' sum, by field."""
    leaves = {key: getattr(fields, key).clone().requires_grad_() for key in fields.__slots__}
    losses = composition_losses(Fields(**leaves), batch, torch.ones(2))
    torch.stack([losses[name] for name in names]).sum().backward()
    return {key: torch.zeros_like(v) if v.grad is None else v.grad for key, v in leaves.items()}


def test_labels_that_nobody_knows_teach_nothing() -> None:
    """Zeros stand where they would be; a clip beside learns as if it were alone."""
    batch, fields = truth()
    half, fields = batch.frames, fields * 0.1
    fields = replace(fields, affine_NK6=fields.affine_NK6 + 0.05)  # every part moves
    blank = replace(batch, part_NHW=batch.part_NHW.clone(), affine_NK6=batch.affine_NK6.clone())
    blank.part_NHW[half:] = 0
    blank.affine_NK6[half:] = 0
    blank = replace(blank, truth_B=torch.tensor([True, False]))
    found = gradients(blank, fields, *LABELLED)
    for name, gradient in found.items():
        assert not gradient[half:].any(), name
    assert all(found[name][:half].any() for name in ("affine_NK6", "parts_NKHW", "gate_N1HW"))
    planted = gradients(replace(blank, truth_B=None), fields, *LABELLED)
    assert planted["affine_NK6"][half:].any() and planted["parts_NKHW"][half:].any()


def test_where_no_motion_is_known_frames_teach_it() -> None:
    batch, fields = truth()
    fields, half = fields * 0.1, batch.frames
    known = gradients(batch, fields, "clip", "sharp")["affine_NK6"]
    batch = replace(batch, truth_B=torch.tensor([True, False]))
    found = gradients(batch, fields, "clip", "sharp")["affine_NK6"]
    assert not known.any() and not found[:half].any() and found[half:].abs().max() > 1e-4


def test_all_clips_known_is_the_same_as_not_asked() -> None:
    batch, fields = truth()
    usual = composition_losses(fields * 0.5, batch, torch.ones(2))
    told = replace(batch, truth_B=torch.ones(2, dtype=torch.bool))
    for name, value in composition_losses(fields * 0.5, told, torch.ones(2)).items():
        assert torch.equal(value, usual[name])
