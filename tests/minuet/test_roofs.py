from dataclasses import replace

import pytest

from minuet import roofs
from minuet.benchmarks import peaks
from minuet.contracts.report import Run
from minuet.contracts.stages import OTHER
from minuet.export.bundle import load_bundle
from minuet.measuring import example
from minuet.runtimes.table import runtime
from minuet.shipped import folder

BUNDLE = folder() / "bundle"
MATCHED = 0.95  # of the time, whose stage and work are found by name


def watched(artifact: str, name: str) -> Run:
    manifest = load_bundle(BUNDLE)
    (held,) = (one for one in manifest.artifacts if one.name == artifact)
    inputs = example(BUNDLE, manifest, 0)
    return roofs.watched(BUNDLE, manifest, held, name, inputs, runs=1, threads=1)


@pytest.mark.slow
def test_the_shipped_bundles_operators_are_matched_and_no_work_is_lost() -> None:
    """Two runtimes fuse as they like; what the program multiplies is the same for both."""
    seen = set()
    for name in ("ort", "openvino"):
        if refusal := runtime(name).available():
            pytest.skip(refusal.reason)
        for artifact in ("onnx-fp32", "onnx-int8"):
            run = watched(artifact, name)
            whole = sum(one.p50_ms for one in run.operators)
            staged = [one.p50_ms for one in run.operators if one.stage not in ("", OTHER)]
            assert sum(staged) > MATCHED * whole, roofs.matched(run)
            assert all(None not in (one.macs, one.moved_bytes) for one in run.operators)
            seen.add(sum(one.macs or 0 for one in run.operators))
    (macs,) = seen
    student = load_bundle(BUNDLE).sampler["macs"]
    assert macs >= student > 0, "an export may unfold, and leaves nothing out"


@pytest.mark.slow
def test_a_bundle_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peaks, "SIDE", 64)
    monkeypatch.setattr(peaks, "SMALLEST", 1 << 20)
    asked = ("--runtimes", "ort,executorch", "--runs", "1", "--threads", "1", "--seconds", "0.1")
    assert roofs.main([str(BUNDLE), *asked, "--off", "GPU*"]) == 0
    told = capsys.readouterr().out
    assert "onnx-fp32 on ort" in told and "CPUExecutionProvider" in told
    assert "off GPU*: GridSample" in told and "peaks on 1 threads" in told
    assert "executorch" not in told, "the bundle holds no file for it"


def test_what_is_no_bundle_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert roofs.main([str(BUNDLE / "golden")]) == 2
    assert "golden" in capsys.readouterr().err


def test_what_cannot_watch_says_so() -> None:
    run = watched("onnx-fp32", "mil")
    assert run.unplaced == "mil does not name its operators" and not run.operators
    assert roofs.matched(replace(run, unwatched="no profiler")) == "no profiler"
