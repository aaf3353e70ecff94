"""An address always gives the same sticker, and test pairs never reach training."""

import dataclasses

import numpy as np
import pytest

from minuet.contracts.errors import RequestError
from minuet.stickers import world
from minuet.stickers.characters import CHARACTERS
from minuet.stickers.motions import MOTIONS

TRAIN = [world.sample(0, index) for index in range(1500)]


def test_an_address_gives_the_same_sticker_and_its_neighbour_another():
    assert world.sample(5, 7) == world.sample(5, 7)
    assert len({world.sample(5, index) for index in range(50)}) == 50
    assert world.sample(5, 7) != world.sample(6, 7)


def test_whole_pairs_are_held_out_about_one_in_eight():
    share = len(world.pairs("test")) / (len(CHARACTERS) * len(MOTIONS))
    assert 0.08 < share < 0.17
    assert not set(world.pairs("train")) & set(world.pairs("test"))
    assert {motion for _, motion in world.pairs("train")} == set(MOTIONS)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_sample_belongs_to_its_split(split):
    for index in range(200):
        assert world.split_of(world.sample(0, index, split)) == split


def test_training_has_its_share_of_things_and_default_colours():
    things = sum(spec.character == "thing" for spec in TRAIN) / len(TRAIN)
    assert things == pytest.approx(0.3, abs=0.03)
    assert {spec.motion for spec in TRAIN} == set(MOTIONS)


def test_an_unknown_split_is_refused():
    with pytest.raises(RequestError, match="unknown split 'dev'"):
        world.sample(0, 0, "dev")


@pytest.mark.parametrize("index", [0, 3])
def test_the_sticker_at_rest_is_the_first_frame_of_all_its_motions(index):
    spec = world.sample(1, index)
    still = world.render_static(spec, 64)
    for motion in MOTIONS:
        other = dataclasses.replace(spec, motion=motion, amplitude=1.3)
        assert np.array_equal(world.render_clip(other, 64).frames_THWC[0], still)


def test_the_eight_frames_of_a_clip_differ():
    for index in range(24):
        frames = world.render_clip(world.sample(8, index), 64).frames_THWC
        assert len({frame.tobytes() for frame in frames}) == 8


def test_nothing_is_cut_off_at_the_edge():
    for index in range(40):
        alpha = world.render_clip(world.sample(9, index), 64).frames_THWC[..., 3]
        rim = np.concatenate([alpha[:, [0, -1]].ravel(), alpha[:, :, [0, -1]].ravel()])
        assert rim.max() == 0, world.sample(9, index)


def test_a_clip_carries_its_caption_and_motion():
    spec = world.sample(0, 0)
    clip = world.render_clip(spec, 64)
    assert clip.motion == spec.motion and clip.caption and clip.seed == spec.seed


def test_a_caption_becomes_a_sticker_and_unknown_words_are_named():
    spec, unknown = world.spec_from_caption("a red rabbit waving at a zeppelin", seed=3)
    assert (spec.character, spec.color, spec.motion) == ("rabbit", "red", "wave")
    assert spec.toward in ("left", "right") and unknown == ("zeppelin",)
    assert world.spec_from_caption("a red rabbit waving at a zeppelin", seed=3)[0] == spec


@pytest.mark.parametrize("text", ["", "a sticker", "qwerty", "a cactus", "spinning"])
def test_any_caption_can_be_drawn(text):
    spec, _ = world.spec_from_caption(text)
    assert world.render_static(spec, 64)[..., 3].any()
