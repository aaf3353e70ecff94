"""A loop's faults show where they are: in a component, in the loop, or in both."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from minuet.benchmarks.parity import Difference
from minuet.benchmarks.parity_report import Column, side_by_side
from minuet.benchmarks.parity_trajectory import (
    FINAL,
    STEP,
    TRAJECTORY,
    Component,
    Drive,
    Finding,
    compare,
    record,
)
from minuet.contracts.tensors import Array, Arrays
from tests.benchmarks.fewstep import GUIDANCE, SCALE, TIMES, Fewstep, example, fewstep

DEPTHS = {"denoiser": 4, "decoder": 1}


def components(module: Fewstep, dtype: torch.dtype = torch.float32) -> dict[str, Component]:
    """The sampler's parts as a host sees them."""

    def run(part: Callable[..., torch.Tensor], *names: str) -> Component:
        def call(inputs: Arrays) -> Arrays:
            with torch.inference_mode():
                y = part(*(torch.from_numpy(inputs[name]).to(dtype) for name in names))
            return {"out": y.to(torch.float32).numpy()}

        return call

    module = module.to(dtype)
    return {
        "denoiser": run(module.denoiser, "x", "words", "t"),
        "decoder": run(module.decoder, "x"),
    }


def loop(times: tuple[float, ...] = TIMES, swapped: bool = False, scale: float = SCALE) -> Drive:
    """A host's few-step sampler, with the habits that go wrong in hosts."""

    def drive(parts: Mapping[str, Component]) -> Arrays:
        given = example()
        x, words = given["noise"], given["words"]
        for t in times:
            at = np.array(t, np.float32)
            told, untold = (
                parts["denoiser"]({"x": x, "words": w, "t": at})["out"] for w in (words, 0 * words)
            )
            if swapped:
                told, untold = untold, told
            x = x - (untold + GUIDANCE * (told - untold)) / len(times)
        seen = parts["decoder"]({"x": (x / np.float32(scale)).astype(np.float32)})["out"]
        return {"frames": frames_of(seen)}

    return drive


def frames_of(y: Array) -> Array:
    found: Array = (255 / (1 + np.exp(-y)) + 0.5).astype(np.uint8)
    return found


def failed(findings: list[Finding], precision: str = "fp32") -> set[tuple[str, str, int]]:
    column = Column(target="onnx", precision=precision, runtime="ort")
    report = side_by_side("a sampler", "float64", {column: findings})
    return {(row.scope, row.component, row.step) for row, _, _ in report.failures}


@pytest.fixture(scope="module")
def oracle() -> Mapping[str, Component]:
    return components(fewstep(), torch.float64)


def found(
    oracle: Mapping[str, Component], drive: Drive, parts: Mapping[str, Component]
) -> list[Finding]:
    return list(compare(record(loop(), oracle), drive, parts, DEPTHS))


def test_every_call_is_noted_with_what_went_in_and_out(oracle: Mapping[str, Component]) -> None:
    trace = record(loop(), oracle)
    named = [(call.component, call.step) for call in trace.calls]
    assert named == [("denoiser", i) for i in range(4)] + [("decoder", 0)]
    assert [float(call.inputs["t"]) for call in trace.calls[:4]] == [999, 999, 500, 500]
    for call in trace.calls:
        again = oracle[call.component](call.inputs)
        np.testing.assert_array_equal(again["out"], call.outputs["out"])


def test_the_same_components_pass_everywhere(oracle: Mapping[str, Component]) -> None:
    rows = found(oracle, loop(), components(fewstep()))
    assert {row.scope for row in rows} == {STEP, TRAJECTORY, FINAL}
    assert len(rows) == 5 + 5 + 1 and failed(rows) == set()


def test_depth_adds_up_along_the_loop(oracle: Mapping[str, Component]) -> None:
    rows = found(oracle, loop(), oracle)
    along = [row.depth for row in rows if row.scope == TRAJECTORY]
    assert along == [4, 8, 12, 16, 17] and rows[-1].depth == 17
    assert [row.depth for row in rows if row.scope == STEP] == [4, 4, 4, 4, 1]


def test_a_broken_component_fails_at_its_own_steps(oracle: Mapping[str, Component]) -> None:
    broken = components(fewstep()) | {"decoder": components(fewstep(seed=1))["decoder"]}
    bad = failed(found(oracle, loop(), broken))
    assert (STEP, "decoder", 0) in bad and (FINAL, "", 5) in bad
    assert not any(component == "denoiser" for _, component, _ in bad)


HOSTS = {
    "off by one timestep": loop(times=(998.0, 499.0)),
    "wrong guidance order": loop(swapped=True),
    "missing normalisation constant": loop(scale=1.0),
}


@pytest.mark.parametrize("name", HOSTS)
def test_a_fault_of_the_loop_fails_though_every_component_passes(
    oracle: Mapping[str, Component], name: str
) -> None:
    for precision in ("fp32", "fp16"):
        bad = failed(found(oracle, HOSTS[name], components(fewstep())), precision)
        assert (FINAL, "", 5) in bad and {scope for scope, _, _ in bad} <= {TRAJECTORY, FINAL}


def test_a_call_that_is_never_made_is_a_fault(oracle: Mapping[str, Component]) -> None:
    rows = found(oracle, loop(times=TIMES[:1]), components(fewstep()))
    missing = [row for row in rows if row.found.fault]
    assert [(row.component, row.step) for row in missing] == [("denoiser", 2), ("denoiser", 3)]
    assert isinstance(missing[0].found, Difference)
