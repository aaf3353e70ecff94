"""Motions start at rest, loop smoothly, never show a pose twice, and know left from right."""

import numpy as np
import pytest

from minuet.contracts.errors import RequestError
from minuet.stickers.motions import MOTIONS, REST, SIDED, joint_values, phases_of, pose
from minuet.stickers.rig import NODE_ID, Joint

BODIES = [(False, False), (True, False), (True, True)]  # limbless, eyeless


@pytest.mark.parametrize("limbless, eyeless", BODIES)
@pytest.mark.parametrize("motion", MOTIONS)
def test_every_motion_starts_at_rest_so_that_frame_one_cannot_leak_it(motion, limbless, eyeless):
    assert pose(motion, 0.0, 1.3, "left", limbless, eyeless) == {}


@pytest.mark.parametrize("limbless, eyeless", BODIES)
@pytest.mark.parametrize("motion", MOTIONS)
def test_no_two_of_eight_frames_share_a_pose(motion, limbless, eyeless):
    poses = joint_values(motion, phases_of(8), 1.0, "right", limbless, eyeless).copy()
    seen = ("root", "body", "head", "eyes") if limbless else NODE_ID
    flat = poses[:, [NODE_ID[node] for node in seen]].reshape(8, -1)
    gaps = np.abs(flat[:, None] - flat[None]).max(-1)
    assert gaps[~np.eye(8, dtype=bool)].min() > 0.01


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_last_frame_leads_to_the_first_without_a_jolt(motion):
    poses = joint_values(motion, tuple(np.arange(65) / 64), 1.0, "right").copy()
    if motion == "spin":
        turn = poses[-1, NODE_ID["root"], 2]
        assert turn == pytest.approx(360.0)
        poses[-1, NODE_ID["root"], 2] -= 360.0
    assert poses[-1] == pytest.approx(np.tile(REST, (len(NODE_ID), 1)))
    scale = np.array([0.01, 0.01, 1.0, 0.01, 0.01])
    steps = np.abs(np.diff(poses[:-1], axis=0)) / scale
    assert steps.max() < 16.0


@pytest.mark.parametrize("motion", MOTIONS)
def test_toward_mirrors_sided_motions_and_leaves_the_others(motion):
    right, left = (pose(motion, 0.25, 1.0, side) for side in ("right", "left"))
    assert (left != right) == (motion in SIDED)


def test_the_right_arm_waves_toward_the_right_and_the_left_one_toward_the_left():
    right, left = (pose("wave", 0.25, 1.0, side) for side in ("right", "left"))
    assert right["arm_right"].degrees < -70.0
    assert left["arm_left"].degrees == pytest.approx(-right["arm_right"].degrees)


def test_a_spin_turns_clockwise_toward_the_right():
    degrees = [pose("spin", k / 8, 1.0, "right")["root"].degrees for k in range(1, 8)]
    assert np.diff(degrees).min() > 20.0


@pytest.mark.parametrize("motion", sorted(set(MOTIONS) - {"spin"}))
def test_a_wilder_motion_moves_farther(motion):
    gentle, wild = (
        np.abs(joint_values(motion, phases_of(8), amplitude) - REST).sum()
        for amplitude in (0.6, 1.3)
    )
    assert wild > 1.1 * gentle


def test_a_pose_is_made_of_joints_by_node_name():
    assert isinstance(pose("bounce", 0.25)["root"], Joint)


def test_an_unknown_motion_is_refused_with_the_known_ones():
    with pytest.raises(RequestError, match=r"unknown motion 'fly'.*bounce"):
        pose("fly", 0.0)
