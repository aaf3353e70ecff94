from dataclasses import replace

import pytest

from minuet.benchmarks.budget import Budget, Limit
from minuet.benchmarks.gate import FAIL, INCONCLUSIVE, PASS, judge_limit
from minuet.benchmarks.stages import doubt, missing, shares
from minuet.contracts.report import Run

RUN = Run(
    artifact="onnx-fp32",
    artifact_sha256="0",
    runtime="ort",
    runtime_version="1",
    threads=1,
    samples_ms={
        "total": (18.0,) * 20,
        "stage.caption": (0.1,) * 20,
        "stage.denoise.0": (12.0,) * 20,
        "stage.embed": (0.05,) * 20,
        "stage.compose": (6.0,) * 20,
        "watched": (20.0,) * 20,
    },
    peak_rss_mib=1.0,
    bytes_on_disk=1,
    steps=1,
    nfe=1,
    macs=None,
)


def test_small_stages_are_told_together() -> None:
    found = {row.name: (row.p50_ms, row.share) for row in shares(RUN)}
    assert list(found) == ["denoise.0", "compose", "2 smaller"]
    assert found["denoise.0"] == (12.0, 0.6)
    assert found["2 smaller"] == pytest.approx((0.15, 0.0075))
    assert shares(replace(RUN, samples_ms={"total": (1.0,)})) == []


def test_much_that_belongs_to_no_stage_is_said() -> None:
    assert doubt(RUN) == ""
    samples = RUN.samples_ms | {"stage.other": (3.0,) * 20}
    assert doubt(replace(RUN, samples_ms=samples)).startswith("15 % is of no known stage")


@pytest.mark.parametrize(
    ("metric", "at_most", "outcome"),
    [
        ("stage.denoise.0.p50", 13.0, PASS),
        ("stage.denoise.0.p50", 11.0, FAIL),
        ("stage.compose.p90", 7.0, INCONCLUSIVE),  # 20 samples bound no p90
    ],
)
def test_a_budget_gates_a_stage(metric: str, at_most: float, outcome: str) -> None:
    budget = Budget(name="b", limits=())
    (found,) = judge_limit([RUN], Limit(metric=metric, at_most=at_most), budget)
    assert found.outcome == outcome


def test_a_stage_that_is_not_there_is_no_pass_and_the_reason_is_said() -> None:
    limit = Limit(metric="stage.denoise.1.p50", at_most=1e9)
    (found,) = judge_limit([RUN], limit, Budget(name="b", limits=()))
    assert found.outcome == INCONCLUSIVE
    assert found.note == (
        "the run has no stage.denoise.1; its stages are caption, denoise.0, embed, compose"
    )
    assert missing(replace(RUN, unwatched="no profiler"), "stage.x") == "not measured: no profiler"
