"""Ranges: what was really seen, at every call, the same every time."""

import hashlib
import pickle
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.fx import GraphModule, Interpreter

from minuet.contracts.errors import DamagedError, RequestError
from minuet.quantize.calibrate import METHODS, Method, calibrate, from_bytes, to_bytes
from minuet.quantize.histograms import RANGES
from minuet.quantize.scales import affine, decode, encode
from tests.quantize.tiny import captured, clips, network


def program() -> GraphModule:
    return captured(network())[0].module()


def test_ranges_are_what_a_hook_on_the_module_sees() -> None:
    module = network()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    module.stem.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    for one in clips(3):
        module(torch.from_numpy(one["image"]))
    ranges = calibrate(program(), clips(3))
    for call in (0, 1):  # the layer's two steps
        given = torch.stack([pair[0] for pair in seen[call::2]])
        out = torch.stack([pair[1] for pair in seen[call::2]])
        assert ranges[f"stem@{call}.in"] == pytest.approx((float(given.min()), float(given.max())))
        assert ranges[f"stem@{call}.out"] == pytest.approx((float(out.min()), float(out.max())))


def test_every_call_has_an_input_and_an_output() -> None:
    keys = {
        f"{n}@{c}.{e}" for n in ("stem", "mlp", "film", "out") for c in "01" for e in ("in", "out")
    }
    assert set(calibrate(program(), clips(1))) == keys


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    graph = program()

    def digest(seed: int) -> str:
        return hashlib.sha256(to_bytes(calibrate(graph, clips(2, seed)))).hexdigest()

    assert digest(1) == digest(1) != digest(2)


def test_a_percentile_leaves_an_outlier_out() -> None:
    values = np.random.default_rng(0).standard_normal(100_000)
    values[0] = 1000
    low, high = Method(name="percentile", share=0.999).look(values)
    assert (low, high) == pytest.approx((-3.09, 3.09), abs=0.1)  # the normal's own quantiles
    assert Method().look(values)[1] == 1000


def test_clips_are_joined_by_extremes_or_by_means() -> None:
    seen = np.array([[-1.0, 2.0], [-3.0, 4.0]])
    assert Method().join(seen) == (-3, 4)
    assert Method(name="percentile").join(seen) == (-2, 3)


@pytest.mark.parametrize("name", METHODS)
def test_no_clips_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no calibration clips"):
        calibrate(program(), [], Method(name=name), tmp_path / "notes")


@pytest.mark.parametrize("name", RANGES)
def test_histograms_are_of_all_clips_in_whatever_order(name: str) -> None:
    graph, method, some = program(), Method(name=name), list(clips(3))
    found = calibrate(graph, some, method)
    assert found == calibrate(graph, some[::-1], method)
    widest = calibrate(graph, some)
    for key, (low, high) in found.items():
        assert min(widest[key][0], 0) <= low <= high <= max(widest[key][1], 0)


def test_the_range_of_least_error_is_found_from_what_a_hook_sees() -> None:
    module, seen = network(), []
    module.stem.register_forward_hook(lambda _, given, out: seen.append(out.numpy()))
    for one in clips(3):
        module(torch.from_numpy(one["image"]))
    values = np.stack(seen[::2])  # of the first step

    def error(low: float, high: float) -> float:
        code = affine(low, high)
        return float(np.square(decode(encode(values, code), code) - values).mean())

    found = calibrate(program(), clips(3), Method(name="mse"))["stem@0.out"]
    assert error(*found) < 1.01 * error(float(values.min()), float(values.max()))


class StopError(Exception):
    """What stops a calibration here."""


def stopped(after: int) -> Iterator[dict[str, np.ndarray]]:
    yield from clips(after)
    raise StopError


@pytest.mark.parametrize("name", METHODS)
def test_an_interrupted_calibration_goes_on_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    notes, method, graph = tmp_path / "notes", Method(name=name), program()
    whole = to_bytes(calibrate(graph, clips(4), method))
    with pytest.raises(StopError):
        calibrate(graph, stopped(2), method, notes)
    runs: list[int] = []
    with counted_runs(runs):
        assert to_bytes(calibrate(graph, clips(4), method, notes)) == whole
    assert len(runs) == 2  # the other two were known


@contextmanager
def counted_runs(runs: list[int]) -> Generator[None]:
    """Count the clips that are really run."""
    original = Interpreter.run

    def counting(*given: Any) -> Any:
        runs.append(1)
        return original(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interpreter, "run", counting)
        yield


@pytest.mark.parametrize(
    "other", ["weights", "inputs", "method", "bytes", "cut", "pickle", "fewer"]
)
def test_foreign_or_damaged_notes_are_passed_over(other: str, tmp_path: Path) -> None:
    notes, module = tmp_path / "notes", network()
    graph, method, some = captured(module)[0].module(), Method(name="mse"), list(clips(3))
    calibrate(graph, some[:2], method, notes)
    good = notes.read_bytes()
    if other == "weights":
        graph = captured(network(seed=1))[0].module()
    if other == "inputs":
        some = list(clips(3, seed=5))
    if other == "method":
        method = Method(name="entropy")
    if other == "fewer":
        some = some[:1]
    if other == "bytes":
        notes.write_bytes(good[:-4] + b"abcd")
    if other == "cut":
        notes.write_bytes(good[: len(good) // 2])
    if other == "pickle":
        notes.write_bytes(pickle.dumps({"digest": 1}))
    runs: list[int] = []
    with counted_runs(runs):
        found = calibrate(graph, some, method, notes)
    assert len(runs) == len(some)
    assert found == calibrate(graph, some, method)


def test_clips_of_another_size_are_refused_with_their_shape() -> None:
    with pytest.raises(RequestError, match=r"calibration input 0 of shapes .*16, 16"):
        calibrate(program(), clips(1, side=16))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_activations_that_are_no_numbers_name_their_layer(name: str, wrong: float) -> None:
    broken = network()
    broken.mlp.weight[0, 0] = wrong
    with pytest.raises(RequestError, match=r"mlp@0\.out are not finite"):
        calibrate(captured(broken)[0].module(), clips(1), Method(name=name))


@pytest.mark.parametrize("wrong", [{"name": "guess"}, {"share": 0.2}, {"share": 1.5}])
def test_a_method_that_is_none_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        Method(**wrong)  # type: ignore[arg-type]


def test_ranges_survive_the_disk() -> None:
    ranges = {"b@0.in": (-0.5, 1.0), "a@1.out": (0.0, 0.0)}
    assert from_bytes(to_bytes(ranges), "here") == ranges


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, to_bytes({"a@0.in": (2.0, 1.0)})])
def test_damaged_ranges_are_refused(data: bytes) -> None:
    with pytest.raises(DamagedError, match=r"^ranges\.safetensors: .*quantize again"):
        from_bytes(data, "ranges.safetensors")
