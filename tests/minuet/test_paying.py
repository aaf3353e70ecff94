"""Whether a quantization pays: verdicts on planted rows. The command weighs real artifacts."""

from dataclasses import replace

import pytest

from minuet.contracts.artifact import Artifact, FileEntry
from minuet.contracts.errors import RequestError
from minuet.paying import Weighed, check_targets, insist, shipped

GOOD = Weighed(
    target="onnx",
    runtime="ort",
    precision="int8",
    parent="fp32",
    bytes=28,
    parent_bytes=100,
    answers=True,
    decibels=(40.0, 44.0),
    ms=5.0,
    parent_ms=9.0,
    ratio=(0.55, 0.5, 0.6),
    outcome="faster",
)


def test_what_is_near_smaller_and_faster_pays() -> None:
    assert insist([GOOD], 36.0) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"outcome": "slower"}, "onnx: not faster (slower)"),
        ({"outcome": "unsure"}, "onnx: not faster (unsure)"),
        ({"bytes": 100}, "onnx: not smaller"),
        ({"decibels": (34.0, 44.0)}, "onnx: 36.6 dB from the float student, below 38"),
    ],
)
def test_each_broken_promise_is_named(change: dict[str, object], words: str) -> None:
    assert insist([replace(GOOD, **change)], 38.0) == [words]  # type: ignore[arg-type]


def test_a_scheme_that_promises_bytes_alone_may_be_slower() -> None:
    assert insist([replace(GOOD, precision="int8-weights", outcome="slower")], 36.0) == []


def test_second_opinions_are_told_and_refuse_nothing() -> None:
    second = replace(GOOD, runtime="openvino", answers=False, outcome="slower")
    assert second.broken(36.0) == ["not faster (slower)"]
    assert insist([GOOD, second], 36.0) == []


def test_what_was_not_run_breaks_nothing() -> None:
    unknown = replace(GOOD, decibels=(), outcome="", ratio=None, reason="needs a GPU")
    assert unknown.db is None and insist([unknown], 36.0) == []


def test_decibels_are_of_the_mean_error_and_not_of_the_mean_decibel() -> None:
    assert replace(GOOD, decibels=(20.0, 80.0)).db == pytest.approx(23.01, abs=0.01)


def test_targets_are_the_schemes_own() -> None:
    assert check_targets("", "int8") == ("onnx",)
    assert check_targets("onnx, executorch", "int8") == ("onnx", "executorch")
    with pytest.raises(RequestError, match="fp8 is not made for onnx; it is for tensorrt"):
        check_targets("onnx", "fp8")
    with pytest.raises(RequestError, match="names a target twice"):
        check_targets("onnx,onnx", "int8")


def test_of_an_engine_the_model_is_what_ships() -> None:
    files = tuple(
        FileEntry(path=f"t/{name}", bytes=size, sha256="0" * 64)
        for name, size in (("model.onnx", 30), ("model.engine", 200))
    )
    entry = {"tensorrt": "t/model.engine", "onnx": "t/model.onnx"}
    sizes = {
        target: shipped(
            Artifact(target=target, precision="int8", entry=entry[target], files=files, requires={})
        )
        for target in entry
    }
    assert sizes == {"tensorrt": 30, "onnx": 230}
