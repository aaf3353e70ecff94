"""A caption is completed, a bundle is opened, and the same seed gives the same frames."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from minuet.contracts.artifact import SCHEMA, Artifact, Manifest
from minuet.contracts.errors import DamagedError, MissingBackendError, RequestError
from minuet.contracts.files import write_bytes
from minuet.contracts.tensors import Signature
from minuet.player import MAX_CAPTION, choose, draw_noise, nearest, open_player, script
from minuet.stickers import captions
from tests.minuet.playable import program, signature, write_bundle

SIZE = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "bundle", SIZE)


@pytest.fixture
def still() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (SIZE, SIZE, 4), dtype=np.uint8)


def test_frame_0_is_the_still_and_later_frames_are_not(
    bundle: Path, still: NDArray[np.uint8]
) -> None:
    with open_player(bundle) as player:
        frames, spent_ms = player.play(player.inputs(still, "a cat waving", 0))
    assert frames.shape == (8, SIZE, SIZE, 4) and frames.dtype == np.uint8
    assert np.array_equal(frames[0], still)
    assert not np.array_equal(frames[7], still)
    assert spent_ms > 0 and player.load_ms > 0


@pytest.mark.parametrize(
    ("caption", "seed", "same"),
    [("a cat waving", 0, True), ("a cat waving", 1, False), ("a cat jumping", 0, False)],
)
def test_only_the_same_caption_and_seed_give_the_same_frames(
    bundle: Path, still: NDArray[np.uint8], caption: str, seed: int, same: bool
) -> None:
    still = np.full_like(still, 200)
    with open_player(bundle) as player:
        one = player.inputs(still, "a cat waving", 0)
        other = player.inputs(still, caption, seed)
        differ = [name for name in one if not np.array_equal(one[name], other[name])]
        assert (differ == []) is same
        assert np.array_equal(player.play(one)[0], player.play(other)[0]) is same


def test_the_bundles_own_tokenizer_reads_the_caption_as_the_world_does(
    bundle: Path, still: NDArray[np.uint8]
) -> None:
    said = "an ice cream with a top hat spinning counter-clockwise, gently!"
    with open_player(bundle) as player:
        tokens = player.inputs(still, said, 0)["tokens"]
    assert np.array_equal(tokens[0], captions.encode(said))


def test_noise_is_the_documented_generators() -> None:
    drawn = draw_noise((1, 8, 4, 8, 8), 3)
    pcg = np.random.Generator(np.random.PCG64(np.random.SeedSequence([3, 0])))
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn.ravel(), pcg.standard_normal(2048, np.float32))


def test_a_still_of_another_size_is_refused(bundle: Path, still: NDArray[np.uint8]) -> None:
    with open_player(bundle) as player, pytest.raises(RequestError, match=r"the bundle takes"):
        player.inputs(still[:32], "a cat waving", 0)


def test_an_unknown_runtime_is_a_wrong_request(bundle: Path) -> None:
    with pytest.raises(RequestError, match="waltz"), open_player(bundle, runtime="waltz"):
        pass


def test_a_runtime_that_cannot_run_here_is_missing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingBackendError, match="ort"), open_player(bundle):
        pass


def test_a_runtime_that_opens_nothing_of_the_bundle_says_what_is_there(bundle: Path) -> None:
    with pytest.raises(RequestError, match="onnx-fp32"), open_player(bundle, precision="int8"):
        pass


def test_the_most_exact_artifact_is_chosen() -> None:
    rows = [
        Artifact(target=target, precision=precision, entry="x", files=(), requires={})
        for target, precision in (("onnx", "int8"), ("onnx", "fp16"), ("coreml", "fp32"))
    ]
    assert choose(manifest_of(rows), ("onnx",), "", "ort").name == "onnx-fp16"
    assert choose(manifest_of(rows), ("onnx",), "int8", "ort").name == "onnx-int8"


def manifest_of(rows: list[Artifact], told: Signature | None = None) -> Manifest:
    return Manifest(
        name="m",
        family="f",
        programs={"main": told or signature(SIZE)},
        sampler={},
        artifacts=tuple(rows),
        files=(),
        minuet="0",
        source_sha256="",
    )


def truncate(bundle: Path) -> None:
    path = bundle / "onnx-fp32/model.onnx"
    path.write_bytes(path.read_bytes()[:-10])


def tamper(bundle: Path) -> None:
    path = bundle / "onnx-fp32/model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def forget_the_tokenizer(bundle: Path) -> None:
    (bundle / "tokenizer.json").unlink()


def come_from_the_future(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', '"schema": 99'))


@pytest.mark.parametrize("harm", [truncate, tamper, forget_the_tokenizer, come_from_the_future])
def test_a_harmed_bundle_is_refused_before_it_is_opened(tmp_path: Path, harm: object) -> None:
    assert callable(harm)
    bundle = write_bundle(tmp_path / "bundle", SIZE)
    harm(bundle)
    with pytest.raises(DamagedError), open_player(bundle):
        pass


def test_a_program_of_another_size_than_its_manifest_says_is_damage(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", 64)
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace("\n      64", "\n      128"))
    with open_player(bundle) as player:
        assert player.size == 128
        still = np.zeros((128, 128, 4), np.uint8)
        with pytest.raises(DamagedError, match="does not run on what its manifest says"):
            player.play(player.inputs(still, "a cat", 0))


def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path) -> None:
    from minuet.export.bundle import load_bundle, seal

    bundle = write_bundle(tmp_path / "bundle", SIZE)
    row = load_bundle(bundle).artifacts
    write_bytes(bundle / "tokenizer.json", b'{"version": "1.0"}')
    seal(
        bundle,
        name="x",
        family="x",
        programs={"main": signature(SIZE)},
        sampler={},
        artifacts=row,
        source_sha256="",
    )
    with pytest.raises(DamagedError, match="not a tokenizer"), open_player(bundle):
        pass


def test_the_stand_in_is_sound_onnx() -> None:
    import onnx

    onnx.checker.check_model(onnx.load_from_string(program(SIZE)), full_check=True)


def test_what_is_told_is_kept_and_what_is_open_is_added() -> None:
    told = script("a red rabbit spinning wildly", seed=4)
    assert told.caption.startswith("a red rabbit spinning wildly ")
    assert told.added in ("clockwise", "counterclockwise")
    read = captions.parse(told.caption)
    assert (read.motion, read.amplitude) == ("spin", 1.3)
    assert read.toward == told.spec.toward
    assert (told.spec.character, told.spec.color) == ("rabbit", "red")


def test_a_caption_that_tells_all_is_left_alone() -> None:
    told = script("a red rabbit gently waving with its left hand")
    assert (told.caption, told.added) == ("a red rabbit gently waving with its left hand", "")


def test_one_seed_is_one_future_and_seeds_differ() -> None:
    futures = [script("a cat wobbling", seed=seed).caption for seed in range(24)]
    assert futures == [script("a cat wobbling", seed=seed).caption for seed in range(24)]
    assert len(set(futures)) == 2  # two sides; how strongly is a person's to say
    assert {script("a cat wobbling wildly", seed).spec.amplitude for seed in range(4)} == {1.3}


def test_captions_of_one_seed_do_not_all_lean_one_way() -> None:
    who = ("cat", "dog", "pig", "fox", "owl", "bear", "frog", "lion")
    assert len({script(f"a {one} wobbling").spec.toward for one in who}) == 2
    said = ("waving", "jumping", "a sad one", "spinning", "in outline style", "sleepy", "nodding")
    assert len({script(one).spec.character for one in said}) > 2


def test_of_two_motions_or_characters_the_first_is_animated_and_the_others_are_told() -> None:
    told = script("a rabbit jumping and spinning wildly")
    assert told.second == ("spinning",) and told.spec.motion == "jump"
    assert captions.parse(told.caption).known == ("rabbit", "jumping", "wildly")
    told = script("a cat and a dog waving")
    assert told.second == ("dog",) and told.spec.character == "cat"


@pytest.mark.parametrize(
    "said", ["a sticker of a cat holding a star", "a heart with a heart", "a cat wobbling"]
)
def test_what_is_worn_or_held_is_no_second_character(said: str) -> None:
    assert script(said).second == ()


def test_an_apostrophe_makes_no_word() -> None:
    assert script("the cat\u2019s birthday, don't jump").unknown == ("birthday", "don't")


def test_what_the_model_hears_is_what_the_spec_says() -> None:
    for seed in range(20):
        for said in ("a pig walking", "a sad ghost", "a bear with a balloon waving", "dancing"):
            told = script(said, seed)
            read = captions.parse(told.caption)
            heard = (read.motion, read.toward, read.amplitude)
            assert heard == (told.spec.motion, told.spec.toward, told.spec.amplitude)
            assert np.count_nonzero(captions.encode(told.caption)) == len(read.known)


def test_a_hand_that_holds_something_does_not_wave() -> None:
    said = "a bear with a balloon waving"
    assert {script(said, seed).spec.toward for seed in range(12)} == {"left"}


def test_a_caption_without_a_motion_gets_a_fitting_one() -> None:
    told = script("a sleepy koala")
    assert told.fitted == told.spec.motion == "nod"
    assert "nods" in told.caption


def test_words_that_are_not_known_are_named() -> None:
    told = script("a red rabit juggling кролик waving")
    assert told.unknown == ("rabit", "juggling", "кролик")
    assert nearest("rabit") == "rabbit" and nearest("juggling") == ""


def test_emoji_are_named_and_left_out_and_punctuation_is_not() -> None:
    told = script("🐰 a red rabbit 👋🏽 it is “waving”… 🐰")
    assert told.unknown[-3:] == ("🐰", "👋", "🏽")
    assert not set("🐰👋🏽") & set(told.caption) and "“waving”" in told.caption


def test_full_width_letters_are_letters() -> None:
    wide = "".join(chr(ord(sign) + 0xFEE0) for sign in "Cat")
    assert script(f"a red {wide} waving", 3) == script("a red Cat waving", 3)


@pytest.mark.parametrize("sign", ["\x1b", "\x07", "\x00", "\udcff", "\u202e"])
def test_what_cannot_be_printed_does_not_reach_the_model_or_a_terminal(sign: str) -> None:
    told = script(f"a red rabbit {sign}waving")
    assert told.spec.motion == "wave" and told.caption.isprintable()


def test_a_caption_of_unknown_words_names_what_was_found() -> None:
    with pytest.raises(RequestError, match=r"\(ein, roter, hase, привет\)"):
        script("ein roter Hase, привет")


def test_a_long_caption_keeps_room_for_its_future() -> None:
    told = script("a happy red cat wearing a crown waving " * 4)
    assert told.unread
    tokens = captions.encode(told.caption)
    assert np.array_equal(tokens[: len(captions.parse(told.caption).known)], tokens[tokens > 0])
    assert captions.parse(told.caption).toward == told.spec.toward != ""


@pytest.mark.parametrize(
    ("caption", "what"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("cat " * 2500, "10000 characters"),
        ("x" * (MAX_CAPTION + 1), "characters"),
        ("xylophone quokka", "none of the caption's words"),
        ("кролик машет", "none of the caption's words"),
        ("🐰", "none of the caption's words"),
        ("\x00\x1b[31m", "none of the caption's words"),
    ],
)
def test_a_caption_that_says_nothing_is_refused_with_examples(caption: str, what: str) -> None:
    with pytest.raises(RequestError, match=what) as caught:
        script(caption)
    assert "a red rabbit waving" in str(caught.value) and len(str(caught.value)) < 300
