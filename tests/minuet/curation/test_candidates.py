"""Candidates on disk: there and back, and nothing in their names."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minuet.contracts.errors import DamagedError, RequestError
from minuet.curation.candidates import Candidates, write_candidates
from tests.minuet.curation.made import TEACHERS, clip_of, verdicts


def test_every_clip_comes_back_as_it_was(candidates: Candidates) -> None:
    for given in verdicts():
        name = clip_of(candidates, given.candidate.request.number, given.candidate.teacher)
        found, clip = candidates.known(name), given.candidate.clip
        np.testing.assert_array_equal(candidates.frames(name), clip.frames_THWC)
        for field in ("frames_THWC", "part_THW", "mask_THW", "affine_TK23", "tokens_VL"):
            np.testing.assert_array_equal(getattr(found, field), getattr(clip, field))
        assert (found.captions, found.noise, found.source) == (
            clip.captions,
            clip.noise,
            clip.source,
        )
        assert found.scores == given.scores


def test_a_clip_whose_parts_nobody_knows_says_so(tmp_path: Path) -> None:
    known, filmed = verdicts(2, TEACHERS[:1])
    unknown = replace(filmed.candidate.clip, truth=False, noise=-1)
    filmed = replace(filmed, candidate=replace(filmed.candidate, clip=unknown))
    write_candidates(tmp_path, [known, filmed], seed=0)
    found = Candidates(tmp_path)
    told = [found.known(clip.clip) for clip in found.clips]
    assert [(clip.truth, clip.noise) for clip in told] == [(True, 0), (False, -1)]


def test_the_sticker_at_rest_is_straight_and_eight_bit(candidates: Candidates) -> None:
    # 0.5 premultiplied under alpha 0.5 is white, half seen.
    np.testing.assert_array_equal(candidates.sticker(4)[0, 0], [255, 255, 255, 128])


def test_the_same_candidates_give_the_same_bytes_and_other_ones_another_run(
    run: Path, tmp_path: Path
) -> None:
    write_candidates(tmp_path / "again", verdicts(), seed=3)
    write_candidates(tmp_path / "more", verdicts(7), seed=3)
    for path in (run / "candidates").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    runs = [Candidates(folder).run for folder in (run / "candidates", tmp_path / "more")]
    assert runs[0] != runs[1]


def test_two_teachers_with_the_same_pixels_make_two_clips(tmp_path: Path) -> None:
    one = verdicts(1, TEACHERS[:1]) + verdicts(1, ["twin"])
    write_candidates(tmp_path, one, seed=0)
    found = Candidates(tmp_path)
    names = [clip.clip for clip in found.clips]
    assert len(set(names)) == 2
    np.testing.assert_array_equal(found.frames(names[0]), found.frames(names[1]))


def test_no_candidates_and_a_broken_index_are_told_apart(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no candidates are here"):
        Candidates(tmp_path)
    (run / "candidates" / "index.json").write_text('{"schema": 1}')
    with pytest.raises(DamagedError, match="not an index of candidates"):
        Candidates(run / "candidates")


@pytest.mark.parametrize(
    ("field", "value"),
    [("clip", "../../etc/passwd"), ("row", -1), ("request", "1"), ("merit", None), ("scores", [])],
)
def test_a_row_of_another_kind_is_refused(run: Path, field: str, value: Any) -> None:
    path = run / "candidates" / "index.json"
    index = json.loads(path.read_text())
    index["clips"][2][field] = value
    path.write_text(json.dumps(index))
    with pytest.raises(DamagedError, match="not an index"):
        Candidates(run / "candidates")


def test_an_index_of_a_newer_minuet_is_refused_with_both_numbers(run: Path) -> None:
    path = run / "candidates" / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    with pytest.raises(DamagedError, match="schema 2 and not 1"):
        Candidates(run / "candidates")


def test_a_truncated_shard_is_refused_by_name(run: Path, candidates: Candidates) -> None:
    path = run / "candidates" / "clips-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedError, match=r"clips-00000\.safetensors: damaged"):
        candidates.frames(candidates.clips[0].clip)
