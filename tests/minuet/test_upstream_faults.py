"""Each silent fault of a converter or runtime that is known is caught by the proof of an export.

Each case makes the fault happen, with our cure for it taken away where we have one: the library
converts or runs without a word, its numbers are wrong, and `minuet.proof` says fail. With the cure
the same program passes, or is refused by name. No case is known to the proof itself.

Loud failures are not here. What was recorded and cannot happen here is skipped, with the reason.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.benchmarks.parity import difference
from minuet.benchmarks.parity_rounded import judge_rounded
from minuet.contracts.errors import RequestError
from minuet.export import shims_coreml_9_0 as shims
from minuet.export.capture import Program
from minuet.export.quiet import quiet
from minuet.export.rewrites import table
from minuet.export.rewrites.engine import Rule
from minuet.export.rewrites.xnnpack import TanhGelu
from minuet.export.table import exporter, missing
from minuet.quantize import apply
from minuet.quantize.calibrate import calibrate
from tests.benchmarks.judged import proven
from tests.export.coreml import Said, captured
from tests.quantize.tiny import clips, recipe

Cure = Callable[[], AbstractContextManager[None]]
X = torch.linspace(-4, 4, 128).reshape(1, 4, 4, 8)
RUNTIMES = {"coreml": "mil", "executorch": "executorch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A recorded fault, and the least program that shows it."""

    name: str
    target: str
    function: Callable[[Tensor], Any]
    given: Tensor = X
    precision: str = "fp32"
    without: Cure = nullcontext  # takes our cure away
    cured: str = ""  # with the cure: pass, or refused; "": there is none


@contextmanager
def plain_coremltools() -> Iterator[None]:
    """Without the operators that we teach it, and without our search for what it would not read."""
    with quiet():
        from coremltools.converters.mil.frontend.torch import ops
        from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

        shims.register()
    known = _TORCH_OPS_REGISTRY.name_to_func_mapping
    kept, lowered = dict(known), shims.lowered
    known["gelu"] = ops.gelu
    vars(shims)["lowered"] = lambda exported: exported.run_decompositions({})
    try:
        yield
    finally:
        known.update(kept)
        vars(shims)["lowered"] = lowered


@contextmanager
def plain_rms_norm() -> Iterator[None]:
    """Squares first, as the definition says."""

    def plain(x: Tensor, shape: list[int], weight: Any = None, eps: float | None = None) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5)

    ours = shims.decompositions
    table = ours() | {torch.ops.aten.rms_norm.default: plain}
    vars(shims)["decompositions"] = lambda: table
    try:
        yield
    finally:
        vars(shims)["decompositions"] = ours


def without_rule(target: str, kind: type[Rule]) -> Cure:
    """A target's rules, but for one."""

    @contextmanager
    def fewer() -> Iterator[None]:
        before = table.RULES[target]
        table.RULES[target] = lambda: tuple(one for one in before() if not isinstance(one, kind))
        try:
            yield
        finally:
            table.RULES[target] = before

    return fewer


CASES = [
    Case(
        name="coremltools 9.0 computes gelu's tanh form with erf",
        target="coreml",
        function=lambda x: F.gelu(x, approximate="tanh"),
        without=plain_coremltools,
        cured="pass",
    ),
    Case(
        name="coremltools 9.0 does not read alpha of add",
        target="coreml",
        function=lambda x: torch.add(x, x * x, alpha=2),
        without=plain_coremltools,
        cured="refused",
    ),
    Case(
        name="coremltools 9.0 does not read antialias",
        target="coreml",
        function=lambda x: F.interpolate(x, size=(2, 4), mode="bilinear", antialias=True),
    ),
    Case(
        name="coremltools 9.0 picks other neighbours for factors that are not whole",
        target="coreml",
        function=lambda x: F.interpolate(x, scale_factor=1.7),
    ),
    Case(
        name="coremltools 9.0 does not read dtype of sum",
        target="coreml",
        function=lambda x: x.sum(1, dtype=torch.int32) * x[:, 0],
    ),
    Case(
        name="squares of rms_norm overflow Core ML's float16 from 256 on",
        target="coreml",
        precision="fp16",
        function=lambda x: F.rms_norm(x, (8,)),
        given=X * 200,
        without=plain_rms_norm,
        cured="pass",
    ),
    Case(
        name="executorch 1.4.1 computes gelu's tanh form with erf",
        target="executorch",
        function=lambda x: F.gelu(x, approximate="tanh"),
        without=without_rule("executorch", TanhGelu),
        cured="pass",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_silent_fault_is_caught(case: Case, tmp_path: Path) -> None:
    if refusal := missing(case.target):
        pytest.skip(f"not run: {refusal}")
    program = captured(Said(case.function), case.given)
    with case.without():
        assert verdict(program, case, tmp_path / "bare") == "fail"
    if case.cured == "refused":
        with pytest.raises(RequestError, match="would ignore"):
            verdict(program, case, tmp_path / "cured")
    elif case.cured:
        assert verdict(program, case, tmp_path / "cured") == case.cured


@pytest.mark.slow
def test_torchaos_int8_weights_are_wrong_in_xnnpack_and_caught(tmp_path: Path) -> None:
    """executorch 1.4.1, torchao 0.18: -121 dB, where the quantized module itself is at 45 dB."""
    pytest.importorskip("executorch")
    quantization = pytest.importorskip("torchao.quantization")
    torch.manual_seed(0)
    x = torch.randn(4, 64)
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)).eval()
    narrow = copy.deepcopy(module)
    quantization.quantize_(narrow, quantization.Int8WeightOnlyConfig())
    with torch.inference_mode():
        assert difference(module(x).numpy(), narrow(x).numpy()).db > 40
    sound = captured(Said(module), x)
    for name, one, expected in (("float", module, "pass"), ("int8", narrow, "fail")):
        folder, given = tmp_path / name, {"in_0": x.numpy()}
        artifact = exporter("executorch")(captured(Said(one), x), folder, "fp32")
        assert proven(sound, artifact, folder, given, "executorch").verdict == expected


class Twice(nn.Module):
    """An int8 answer that is read twice, once transposed, as a residual block reads its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        x = self.stem(image)
        normed = F.layer_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2)
        return (self.out(x + normed),)


@pytest.mark.slow
@pytest.mark.parametrize("cured", [False, True])
def test_an_int8_answer_of_two_readers_is_wrong_in_xnnpack_and_caught(
    cured: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """executorch 1.4.1 loses the transposition; `Form.one_reader` keeps such answers float."""
    pytest.importorskip("executorch")
    form = replace(apply.FORMS["executorch"], one_reader=cured)
    monkeypatch.setitem(apply.FORMS, "executorch", form)
    torch.manual_seed(0)
    image = torch.from_numpy(next(clips(1))["image"])
    sound = captured(Twice().eval().requires_grad_(False), image)
    ranges = calibrate(sound.exported.module(), ({"in_0": one["image"]} for one in clips(4)))
    asked = replace(recipe(), layers={"stem": "int8", "out": "int8"})
    int8 = apply.quantize_program(sound.exported, sound.inputs, asked, ranges, "executorch")
    artifact = exporter("executorch")(replace(sound, exported=int8), tmp_path, "int8")
    found = proven(sound, artifact, tmp_path, {"in_0": image.numpy()}, "executorch")
    assert found.verdict == ("pass" if cured else "fail")


def test_float16_that_a_cpu_runs_in_float32_is_judged_as_hardware_would(tmp_path: Path) -> None:
    """onnxruntime 1.31 cancels the casts in pairs, so that it shows no overflow."""
    program = captured(Said(lambda x: x * (x * x).mean().rsqrt()), X * 200)
    artifact = exporter("onnx")(program, tmp_path, "fp16")
    given = {"in_0": program.inputs[0].numpy()}
    assert proven(program, artifact, tmp_path, given, "ort").verdict == "pass"
    assert judge_rounded(artifact, program.exported, [program.inputs]).verdict == "fail"


NOT_RUN = {
    "the Neural Engine's softplus is 0 from 10.4 on": "no Neural Engine",
    "the Neural Engine's mish is 0 from 10.4 on": "no Neural Engine",
    "the Neural Engine's reduce_log_sum_exp overflows": "no Neural Engine",
    "executorch scans a UNet's body wrongly": (
        "with bodies of convolutions, norms and resampling, 1.4.1 is right to 3e-7; which part of "
        "a UNet is computed wrongly was never found, and no program of ours has a scan"
    ),
    "openvino computes an int8 student at 4 dB": (
        "seen in one network of 28.6 M parameters, which is not kept; the cause was never found"
    ),
}


@pytest.mark.parametrize("name", NOT_RUN)
def test_a_silent_fault_that_cannot_be_shown_here(name: str) -> None:
    pytest.skip(f"not run: {NOT_RUN[name]}")


def verdict(program: Program, case: Case, folder: Path) -> str:
    """Of the file that an export writes now."""
    artifact = exporter(case.target)(program, folder, case.precision)
    given = {"in_0": case.given.numpy()}
    return proven(program, artifact, folder, given, RUNTIMES[case.target]).verdict
