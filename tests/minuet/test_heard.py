"""Each line says who ran; who did not, and why, is said once."""

from typing import Any

from minuet.contracts.artifact import Artifact, Parity
from minuet.heard import absent, in_short
from minuet.proof import Proof

NO_CUDA = Parity(verdict="not run", backend="ort-cuda", reason="there is no GPU")
NO_RTX = Parity(verdict="not run", backend="ort-tensorrt", reason="there is no GPU")


def passed(backend: str, value: float = 120.04) -> Parity:
    return Parity(verdict="pass", backend=backend, metric="snr", value=value, tolerance=100)


def proof(parity: Parity) -> Proof:
    return Proof(artifact="a", runtime=parity.backend.partition(":")[0], parity=parity)


def artifact(precision: str, *parity: Parity) -> Artifact:
    given: dict[str, Any] = {"files": (), "requires": {}, "parity": parity}
    return Artifact(target="onnx", precision=precision, entry="x", **given)


def test_a_line_names_those_that_ran() -> None:
    rows = [proof(passed("ort: onnxruntime 1")), proof(NO_CUDA), proof(passed("openvino: 2", 99))]
    assert in_short(rows) == "ort 120.0 dB; openvino 99.0 dB"
    broken = Parity(verdict="fail", backend="openvino: 2", reason="no kernel")
    assert in_short([proof(broken)]) == "openvino fail: no kernel"
    assert in_short([proof(NO_CUDA)]) == "nothing here runs it"


def test_a_reason_is_said_once_for_all_whom_it_stops() -> None:
    rows = [artifact(name, passed("ort: 1"), NO_CUDA, NO_RTX) for name in ("fp32", "fp16")]
    assert list(absent(rows)) == ["not run: ort-cuda, ort-tensorrt: there is no GPU"]
    assert list(absent([artifact("fp32", passed("ort: 1"))])) == []


def test_who_ran_elsewhere_is_named_with_the_place() -> None:
    no = Parity(verdict="not run", backend="ort", reason="no kernel for bfloat16")
    rows = [artifact("fp32", passed("ort: 1")), artifact("bf16", no)]
    assert list(absent(rows)) == ["not run: ort on onnx-bf16: no kernel for bfloat16"]


def test_reasons_that_differ_in_one_word_are_one_line() -> None:
    said = "this build has no {}, only CPU; another has"
    rows = {"ort-cuda": "CUDA", "ort-tensorrt": "TensorRT", "ort-coreml": "CoreML"}
    parities = [
        Parity(verdict="not run", backend=name, reason=said.format(word))
        for name, word in rows.items()
    ]
    other = Parity(verdict="not run", backend="mil", reason="it knows no such operator at all")
    assert list(absent([artifact("fp32", *parities, other)])) == [
        f"not run: {', '.join(rows)}: {said.format('CUDA or TensorRT or CoreML')}",
        "not run: mil: it knows no such operator at all",
    ]


def test_of_one_runtime_each_reason_keeps_its_line() -> None:
    rows = [
        artifact(name, Parity(verdict="not run", backend="ort", reason=f"no kernel for {name}"))
        for name in ("fp16", "bf16")
    ]
    assert list(absent(rows)) == [
        "not run: ort on onnx-fp16: no kernel for fp16",
        "not run: ort on onnx-bf16: no kernel for bf16",
    ]
