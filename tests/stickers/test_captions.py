"""Captions are grammatical, say what the sticker does, and read back to it."""

import dataclasses
import re

from minuet.stickers import captions, words, world
from minuet.stickers.accessories import ACCESSORIES
from minuet.stickers.characters import CHARACTERS
from minuet.stickers.faces import EXPRESSIONS
from minuet.stickers.motions import MOTIONS, SIDED
from minuet.stickers.palette import COLORS, STYLES

SPECS = [world.sample(11, index) for index in range(600)]
SAID = [captions.caption(spec) for spec in SPECS]


def test_every_name_of_the_world_has_words():
    assert set(words.CHARACTERS) == {*CHARACTERS, "thing"}
    assert set(words.ACCESSORIES) == set(ACCESSORIES) - {"none"} == set(captions.CARRIED)
    assert set(words.MOTIONS) == set(MOTIONS) and set(words.COLORS) == set(COLORS)
    assert set(words.EXPRESSIONS) == set(EXPRESSIONS) and set(words.STYLES) == set(STYLES)


def test_a_caption_reads_back_to_its_motion_and_names_no_unknown_word():
    for spec, text in zip(SPECS, SAID, strict=True):
        told = captions.parse(text)
        assert told.motion == spec.motion, text
        assert told.unknown == (), text
        assert told.character == spec.character, text
        assert told.color in (spec.color, None), text
        assert told.accessory in (spec.accessory, None), text
        assert told.expression in (spec.expression, None), text
        assert told.toward in (spec.toward, ""), text
        assert told.amplitude in (spec.amplitude, 1.0), text


def test_articles_fit_the_words_they_precede():
    for text in SAID:
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text), text
        assert "  " not in text and text == text.strip()


def test_sides_and_manners_are_told_about_half_of_the_time():
    parsed = [captions.parse(text) for text in SAID]
    sided = [told for told, spec in zip(parsed, SPECS, strict=True) if spec.motion in SIDED]
    moved = [told for told, spec in zip(parsed, SPECS, strict=True) if spec.amplitude != 1.0]
    assert 0.4 < sum(bool(told.toward) for told in sided) / len(sided) < 0.6
    assert 0.4 < sum(told.amplitude != 1.0 for told in moved) / len(moved) < 0.6


def test_wording_varies_with_the_seed_and_only_with_it():
    spec = SPECS[0]
    again = {captions.caption(dataclasses.replace(spec, seed=seed)) for seed in range(40)}
    assert len(again) > 20
    assert captions.caption(spec) == captions.caption(dataclasses.replace(spec))


def test_every_caption_fits_into_its_tokens():
    for text in SAID:
        assert len(captions.parse(text).known) <= 16, text
