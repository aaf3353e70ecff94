"""A view keeps every motion inside the canvas, and says nothing about which one follows."""

from dataclasses import replace

import numpy as np
import pytest

from minuet.stickers import truth, world
from minuet.stickers.accessories import ACCESSORIES
from minuet.stickers.characters import CHARACTERS, DEFAULT_COLOR, build, build_thing
from minuet.stickers.motions import CENTRED, MOTIONS, pose
from minuet.stickers.rig import NODE_ID, NODES
from minuet.stickers.view import View, fit, matrices, view_matrix

PLAIN = View(1.0, 0.0, 0.0)


def rig_named(character, accessory="none"):
    return build(character, DEFAULT_COLOR[character], "happy", accessory)


@pytest.mark.parametrize("motion", sorted(set(MOTIONS) - set(CENTRED)))
def test_matrices_of_all_frames_equal_the_rigs_own_of_one_pose_at_a_time(motion):
    rig = rig_named("fox")
    stack = matrices(rig, motion, 1.3, "left", PLAIN)
    for frame in range(8):
        own = rig.matrices(pose(motion, frame / 8, 1.3, "left"))
        assert stack[frame] == pytest.approx(np.stack([own[node] for node in NODES]))


@pytest.mark.parametrize("motion", CENTRED)
def test_spin_and_pulse_leave_the_middle_of_the_art_in_place(motion):
    rig = rig_named("cat")
    points = np.concatenate([part.points for part in rig.parts])
    middle = np.append((points.min(0) + points.max(0)) / 2, 1.0)
    stack = matrices(rig, motion, 1.0, "right", PLAIN)
    assert stack[:, NODE_ID["root"]] @ middle == pytest.approx(np.tile(middle, (8, 1)))


def reach(rig, view):
    """The farthest that any painted point comes from the middle, in any motion."""
    farthest = 0.0
    for motion in MOTIONS:
        for side in ("left", "right"):
            stack = matrices(rig, motion, 1.3, side, view)
            for part in rig.parts:
                affine = stack[:, NODE_ID[part.node]]
                moved = part.points @ affine[:, :2, :2].transpose(0, 2, 1)
                farthest = max(farthest, np.abs(moved + affine[:, None, :2, 2]).max())
    return farthest


@pytest.mark.parametrize("index", range(0, len(CHARACTERS), 3))
def test_no_motion_takes_a_character_out_of_the_canvas(index):
    rig = rig_named(CHARACTERS[index], ACCESSORIES[index % len(ACCESSORIES)])
    assert reach(rig, fit(rig, slide=(1.0, -1.0))) <= 0.985


@pytest.mark.parametrize("seed", range(3))
def test_no_motion_takes_a_thing_out_of_the_canvas(seed):
    rig = build_thing(seed)
    assert reach(rig, fit(rig)) <= 0.985


def test_the_whole_canvas_is_used_by_some_motion():
    rig = rig_named("rabbit")
    view = fit(rig)
    assert reach(rig, view) + rig.border * view.scale > 0.9


def test_an_arm_that_holds_something_swings_less():
    bare, laden = (
        matrices(rig_named("bear", accessory), "wave", 1.0, "right", PLAIN)
        for accessory in ("none", "balloon")
    )

    def swing(stack):
        arm = stack[2, NODE_ID["arm_right"]]
        return abs(np.degrees(np.arctan2(arm[1, 0], arm[0, 0])))

    assert swing(laden) < 0.5 * swing(bare)


def test_a_view_scales_then_shifts():
    assert view_matrix(View(2.0, 0.5, -0.5)) @ [1.0, 1.0, 1.0] == pytest.approx([2.5, 1.5, 1.0])


@pytest.mark.parametrize("motion", ["wave", "spin", "shake"])
def test_shifts_are_linear_in_the_anatomy(motion: str) -> None:
    """Characters differ in joints, middle and scale; a motion's matrices they share."""
    rows, shifts = [], []
    for index in range(160):
        spec = replace(world.sample(3, index), accessory="none", motion=motion, toward="left")
        told = world.anatomy_of(spec)
        if told[27:].any():
            continue  # without arms or eyes other tracks tell it
        rig = world.rig_of(spec)
        stack = matrices(rig, motion, 1.0, "left", world.view_of(spec, rig))
        rows.append(told[:27])
        shifts.append(truth.backward(stack)[3, :, :, 2].ravel())
    known, found = np.array(rows), np.array(shifts)
    fitted, *_ = np.linalg.lstsq(known, found, rcond=None)
    assert len(known) > 90 and np.abs(known @ fitted - found).max() < 1e-9
    assert np.abs(found - found.mean(0)).max() > 0.05
