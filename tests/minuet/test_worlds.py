"""The world as training data: mirrors, wordings, and clips at their addresses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minuet.distill.store import ClipStore
from minuet.stickers import captions, rig, world
from minuet.stickers.motions import SIDED
from minuet.worlds import SIDE, WORDINGS, fill_store, known, mirror, twin_of, wordings


def specs(count: int) -> list[world.Spec]:
    return [world.sample(5, index) for index in range(count)]


# --- mirrors ---------------------------------------------------------------------------------


def test_two_mirrors_show_everything_as_it_is() -> None:
    found = mirror()
    assert len(found.parts) == len(rig.NODES)
    assert [found.parts[twin] for twin in found.parts] == list(range(len(found.parts)))
    assert {found.tokens[twin]: twin for twin in found.tokens.values()} == found.tokens
    assert [twin_of(twin_of(name)) for name in rig.NODES] == list(rig.NODES)


def test_a_mirror_changes_sides_and_nothing_else() -> None:
    found = mirror()
    for name, number in rig.NODE_ID.items():
        twin = rig.NODES[found.parts[number]]
        assert (twin != name) == name.endswith(("_left", "_right")), name
    assert twin_of("arm_left") == "arm_right" and twin_of("body") == "body"


def test_a_mirror_swaps_the_words_of_sides_and_of_turns() -> None:
    found = mirror().tokens
    word = {name: captions.VOCABULARY[name] for name in ("left", "right")}
    turn = {name: captions.VOCABULARY[name] for name in ("clockwise", "counterclockwise")}
    assert found == {
        word["left"]: word["right"],
        word["right"]: word["left"],
        turn["clockwise"]: turn["counterclockwise"],
        turn["counterclockwise"]: turn["clockwise"],
    }


def test_a_mirrored_caption_names_the_other_side() -> None:
    found = mirror().tokens
    for spec in specs(200):
        if not spec.toward:
            continue
        other = replace(spec, toward={"left": "right", "right": "left"}[spec.toward])
        tokens = captions.encode(captions.explicit(spec))
        seen = [found.get(int(token), int(token)) for token in tokens]
        assert seen == captions.encode(captions.explicit(other)).tolist(), spec


# --- wordings --------------------------------------------------------------------------------


def test_the_first_half_of_the_wordings_says_which_way_and_how_strongly() -> None:
    sided = strong = 0
    for spec in specs(150):
        lines = wordings(spec)
        assert len(lines) == WORDINGS
        for line in lines[: WORDINGS // 2]:
            told = captions.parse(line)
            assert (told.motion, told.toward) == (spec.motion, spec.toward), line
            assert told.amplitude == spec.amplitude, line
        sided += spec.motion in SIDED
        strong += spec.amplitude != 1.0
    assert sided > 40 and strong > 40


def test_the_second_half_leaves_the_movement_open_about_half_of_the_time() -> None:
    sided = [spec for spec in specs(300) if spec.toward]
    lines = [line for spec in sided for line in wordings(spec)[WORDINGS // 2 :]]
    open_ = np.mean([not captions.parse(line).toward for line in lines])
    assert 0.35 < open_ < 0.65


def test_a_wording_never_says_what_is_not_so() -> None:
    for spec in specs(100):
        for line in wordings(spec):
            told = captions.parse(line)
            assert told.motion == spec.motion and told.toward in ("", spec.toward), line
            assert told.amplitude in (1.0, spec.amplitude) and not told.unknown, line


def test_wordings_differ_and_are_the_same_each_time() -> None:
    several = [wordings(spec) for spec in specs(50)]
    assert several == [wordings(spec) for spec in specs(50)]
    assert sum(len(set(lines)) == WORDINGS for lines in several) > 40


# --- clips -----------------------------------------------------------------------------------


def test_a_clip_at_an_address_is_the_worlds_own() -> None:
    clip, spec = known(5, 3), world.sample(5, 3)
    truth = world.render_truth(spec, SIDE)
    np.testing.assert_array_equal(clip.frames_THWC, truth.frames_THWC)
    np.testing.assert_array_equal(clip.part_THW, truth.part_THW)
    np.testing.assert_array_equal(clip.affine_TK23, truth.affine_TK23)
    assert clip.part_THW.dtype == np.uint8 and clip.mask_THW.dtype == bool
    assert clip.captions == wordings(spec) and clip.noise == -1 and clip.source == "world"
    expected = [captions.encode(line).tolist() for line in clip.captions]
    assert clip.tokens_VL.tolist() == expected


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_store_is_filled_from_its_split(tmp_path: Path, split: str) -> None:
    assert list(fill_store(tmp_path, 3, 5, split)) == [3]
    told = [row[0] for row in ClipStore(tmp_path, 3).about("captions")]
    assert told == [wordings(world.sample(5, index, split))[0] for index in range(3)]
