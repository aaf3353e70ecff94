"""Ranges: what was really seen, at every call, the same every time."""

import hashlib

import numpy as np
import pytest
import torch
from torch.fx import GraphModule

from minuet.contracts.errors import DamagedError, RequestError
from minuet.quantize.calibrate import Method, calibrate, from_bytes, to_bytes
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


def test_no_clips_are_refused() -> None:
    with pytest.raises(RequestError, match="no calibration clips"):
        calibrate(program(), [])


def test_clips_of_another_size_are_refused_with_their_shape() -> None:
    with pytest.raises(RequestError, match=r"calibration input 0 of shapes .*16, 16"):
        calibrate(program(), clips(1, side=16))


def test_activations_that_are_no_numbers_name_their_layer() -> None:
    broken = network()
    broken.mlp.weight.fill_(float("nan"))
    with pytest.raises(RequestError, match=r"mlp@0\.out are not finite"):
        calibrate(captured(broken)[0].module(), clips(1))


@pytest.mark.parametrize("wrong", [{"name": "entropy"}, {"share": 0.2}, {"share": 1.5}])
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
