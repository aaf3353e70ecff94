"""`minuet animate`: words in, a moving sticker out, and one clear message when that cannot be."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import minuet
from minuet.__main__ import app
from minuet.commands import animate
from minuet.contracts.errors import RequestError
from minuet.stickers import captions, world
from tests.minuet.playable import write_bundle

SIZE = 64
CAPTION = "a red rabbit waving"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "bundle", SIZE)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(*words: object) -> Result:
    return CliRunner().invoke(app, ["animate", *map(str, words)])


def told(*words: object) -> dict[str, Any]:
    done = ran(*words, "--json")
    assert done.exit_code == 0, done.output
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def frames_of(path: Path) -> list[np.ndarray[Any, Any]]:
    with Image.open(path) as file:
        return [_shown(file, index) for index in range(getattr(file, "n_frames", 1))]


def _shown(file: Image.Image, index: int) -> np.ndarray[Any, Any]:
    file.seek(index)
    return np.asarray(file.convert("RGBA"))


def test_a_caption_becomes_a_file_named_after_it(bundle: Path, here: Path) -> None:
    done = ran(bundle, "a red rabbit spinning wildly clockwise")
    assert done.exit_code == 0, done.output
    path = here / "red-rabbit-spinning-wildly-clockwise.webp"
    assert [one.name for one in here.iterdir()] == [path.name]
    frames = frames_of(path)
    assert len(frames) == 8 and frames[0].shape == (SIZE, SIZE, 4)
    last = done.stdout.splitlines()[-1]
    assert path.name in last and "load" in last and "first run" in last and "onnx-fp32" in last


def test_the_first_frame_is_the_worlds_own_drawing(bundle: Path, here: Path) -> None:
    said = told(bundle, CAPTION, "-o", "out.png", "--seed", 5)
    spec, _ = world.spec_from_caption(said["caption"], 5)
    wanted = world.render_static(spec, SIZE, backend="pillow")
    assert (spec.character, spec.color, spec.motion) == ("rabbit", "red", "wave")
    assert np.array_equal(frames_of(here / "out.png")[0], wanted)


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".png", ".mp4"])
def test_the_same_words_and_seed_give_the_same_bytes(bundle: Path, here: Path, suffix: str) -> None:
    if suffix == ".mp4":
        pytest.importorskip("av")
    for name in ("one", "two"):
        told(bundle, CAPTION, "--seed", 7, "-o", f"{name}{suffix}")
    assert (here / f"one{suffix}").read_bytes() == (here / f"two{suffix}").read_bytes()


def test_what_was_left_open_is_said(bundle: Path) -> None:
    done = ran(bundle, "a koala", "-o", "out.webp", "--seed", 1)
    read = captions.parse("a koala")
    assert f"one that fits is {captions.fitting_motion(read)}" in done.stdout
    assert "chosen by the seed" in done.stdout
    done = ran(bundle, "waving", "-o", "out.webp")
    assert "no character was named" in done.stdout


def test_unknown_words_are_a_warning_with_a_guess(bundle: Path) -> None:
    done = ran(bundle, "a red rabit juggling", "-o", "out.webp", "--json")
    assert done.exit_code == 0
    assert "rabit (rabbit?)" in done.stderr and "juggling" in done.stderr
    assert json.loads(done.stdout)["unknown"] == ["rabit", "juggling"]


def test_ones_own_image_is_animated(bundle: Path, here: Path) -> None:
    image = np.zeros((100, 60, 4), np.uint8)
    image[10:90, 10:50] = (10, 200, 30, 255)
    Image.fromarray(image).save("own.png")
    done = ran(bundle, "it jumps", "--image", "own.png", "-o", "out.png")
    assert done.exit_code == 0, done.output
    assert "character" not in done.stdout
    first = frames_of(here / "out.png")[0]
    assert first[SIZE // 2, SIZE // 2].tolist() == [10, 200, 30, 255] and first[0, 0, 3] == 0


def test_an_image_is_not_written_over(bundle: Path, here: Path) -> None:
    Image.new("RGBA", (50, 50), "red").save("own.png")
    before = (here / "own.png").read_bytes()
    done = ran(bundle, CAPTION, "--image", "own.png", "-o", here / "own.png")
    assert done.exit_code == 2 and "the image itself" in done.stderr
    assert (here / "own.png").read_bytes() == before


def test_size_and_background_are_obeyed(bundle: Path, here: Path) -> None:
    said = told(bundle, CAPTION, "-o", "out.webp", "--size", 96, "--background", "#102030")
    frame = frames_of(here / "out.webp")[3]
    assert said["size"] == 96 and frame.shape == (96, 96, 4)
    assert frame[0, 0].tolist() == [16, 32, 48, 255]


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("",), 2, "empty"),
        (("cat " * 2500,), 2, "10000 characters"),
        (("xylophone quokka",), 2, "a red rabbit waving"),
        (("a", "red", "rabbit"), 2, 'minuet animate "a red rabbit"'),
        ((CAPTION, "-o", "out.jpg"), 2, ".webp, .gif"),
        ((CAPTION, "--background", "ultraviolet"), 2, "not a colour"),
        ((CAPTION, "--image", "none.png"), 2, "no such image"),
        ((CAPTION, "--runtime", "waltz"), 2, "waltz"),
        ((CAPTION, "--precision", "int8"), 2, "onnx-fp32"),
        ((CAPTION, "--seed", "-1"), 2, "--seed"),
        (("nowhere/", CAPTION), 2, "no bundle is there"),
        (("red", "rabbit"), 2, 'minuet animate "red rabbit"'),
        ((CAPTION, "--image", "a" * 300), 2, "the name is too long"),
        ((CAPTION, "-o", f"{'a' * 300}.webp"), 2, "the name is too long"),
        ((CAPTION, "-o", "one.mp4", "--size", "1"), 2, "at least 2 px"),
    ],
)
def test_a_wrong_request_is_one_message_and_leaves_nothing(
    bundle: Path, here: Path, words: tuple[str, ...], code: int, what: str
) -> None:
    if "one.mp4" in words:
        pytest.importorskip("av")
    given = words if words[0] in ("nowhere/", "a", "red") else (bundle, *words)
    done = ran(*given)
    assert done.exit_code == code and what in done.stderr, done.output
    assert "Traceback" not in done.output and list(here.iterdir()) == []


@pytest.mark.parametrize("image", ["none.png", "round.png"])
def test_an_image_that_is_not_there_is_one_message_where_the_animation_is(
    bundle: Path, here: Path, image: str
) -> None:
    (here / "round.png").symlink_to("round.png")
    (here / "out.webp").write_bytes(b"of an earlier run")
    done = ran(bundle, CAPTION, "--image", image, "-o", "out.webp")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert f"{image}: no such image" in done.stderr


def test_a_broken_image_is_one_message(bundle: Path, here: Path) -> None:
    (here / "own.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    done = ran(bundle, CAPTION, "--image", "own.png")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert "own.png: not an image" in done.stderr


def test_a_damaged_bundle_is_one_message(tmp_path: Path) -> None:
    broken = write_bundle(tmp_path / "bundle", SIZE)
    (broken / "onnx-fp32/model.onnx").write_bytes(b"short")
    done = ran(broken, CAPTION)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert "model.onnx" in done.stderr


def test_a_bundle_alone_lacks_a_caption(bundle: Path) -> None:
    done = ran(bundle)
    assert done.exit_code == 2 and "what should it animate?" in done.stderr


def test_no_bundle_means_the_shipped_one(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minuet.shipped.folder", lambda: bundle.parent)
    assert told(CAPTION, "-o", "out.webp")["artifact"] == "onnx-fp32"
    monkeypatch.setattr("minuet.shipped.folder", lambda: tmp_path)
    with pytest.raises(RequestError, match="no default bundle"):
        animate.shipped()


def test_mp4_without_its_library_is_missing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = ran(bundle, CAPTION, "-o", "out.mp4")
    assert done.exit_code == 4 and "pip install 'minuet[video]'" in done.stderr


def test_a_base_install_is_enough(bundle: Path, here: Path) -> None:
    missing = ("torch", "onnx", "scipy", "skia", "av", "yaml", "openvino")
    probe = (
        f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
        "from minuet.__main__ import main; main()"
    )
    words = ["animate", str(bundle), CAPTION, "-o", "out.webp"]
    done = subprocess.run(
        [sys.executable, "-c", probe, *words],
        env=os.environ | {"PYTHONPATH": str(Path(minuet.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert (here / "out.webp").is_file()


@pytest.mark.parametrize(
    ("caption", "name"),
    [("a Red  Rabbit, waving!", "red-rabbit-waving"), ("an ice cream", "icecream")],
)
def test_a_file_is_named_by_what_is_known(caption: str, name: str) -> None:
    assert animate.slug(caption) == name
