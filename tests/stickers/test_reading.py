"""Words become tokens by meaning; a caption in a user's own words is understood or reported."""

import json

import numpy as np
import pytest

from minuet.stickers import captions, reading, world


def test_the_vocabulary_is_closed_and_small():
    assert len(reading.VOCABULARY) <= 400
    assert sorted(set(reading.VOCABULARY.values())) == list(range(reading.VOCABULARY_SIZE))
    assert reading.VOCABULARY["[pad]"] == 0 and reading.VOCABULARY["[unk]"] == 1


def test_forms_of_one_word_share_a_token():
    ids = reading.VOCABULARY
    assert ids["wave"] == ids["waves"] == ids["waving"] == ids["hello"]
    assert ids["bunny"] == ids["rabbit"] != ids["cat"]


def test_encoding_drops_filler_and_unknown_words_and_pads_with_zeros():
    ids = reading.VOCABULARY
    tokens = reading.encode("A zorbly red Rabbit, waving!")
    assert tokens.dtype == np.int32 and tokens.shape == (16,)
    assert tokens.tolist() == [ids["red"], ids["rabbit"], ids["wave"]] + [0] * 13


def test_a_long_caption_is_cut_at_sixteen_tokens():
    assert reading.encode("red " * 40).tolist() == [reading.VOCABULARY["red"]] * 16


OWN_WORDS = [
    "A red RABBIT, waving hello!",
    "counter-clockwise spinning ice-cream with a party hat",
    "",
    "nothing here is known",
    "it's the cat's meow: jumping for joy -- wildly",
    "red " * 40,
    "anti clockwise anticlockwise counter clockwise clockwise",
    "caterpillar starfish cat_dog star",
]


@pytest.mark.parametrize(
    "text", OWN_WORDS + [captions.caption(world.sample(4, i)) for i in range(60)]
)
def test_the_tokenizers_library_agrees(text):
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_str(reading.tokenizer_json()).encode(text).ids
    assert theirs == reading.encode(text).tolist()


def test_the_tokenizer_file_is_a_word_level_one(tmp_path):
    reading.write_tokenizer(tmp_path / "tokenizer.json")
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    assert model["type"] == "WordLevel" and model["vocab"] == reading.VOCABULARY


def test_a_caption_in_own_words_is_understood():
    told = reading.parse("a grumpy blue kitty holding a red balloon spins anticlockwise gently")
    assert (told.character, told.color, told.accessory) == ("cat", "blue", "balloon")
    assert (told.expression, told.motion) == ("angry", "spin")
    assert (told.toward, told.amplitude) == ("left", 0.6)


@pytest.mark.parametrize(
    "text, character, accessory",
    [
        ("a star holding a heart", "star", "heart"),
        ("a heart with a star dancing", "heart", "star"),
        ("a dancing heart", "heart", None),
        ("a sticker of a fox with a star", "fox", "star"),
    ],
)
def test_hearts_and_stars_may_be_and_may_be_held(text, character, accessory):
    told = reading.parse(text)
    assert (told.character, told.accessory) == (character, accessory)


def test_unknown_words_are_reported_and_fillers_are_not():
    assert reading.parse("a purple dinosaur with its tiny hat").unknown == ("dinosaur",)


@pytest.mark.parametrize(
    "text, motion",
    [
        ("an angry cat", "shake"),
        ("a heart", "pulse"),
        ("a cool dog", "dance"),
        ("a cat nods", "nod"),
    ],
)
def test_a_caption_without_a_motion_gets_a_fitting_one(text, motion):
    assert reading.fitting_motion(reading.parse(text)) == motion


def test_the_last_resort_is_the_same_every_time():
    told = reading.parse("a cat")
    assert reading.fitting_motion(told) == reading.fitting_motion(told) in reading.ANY
