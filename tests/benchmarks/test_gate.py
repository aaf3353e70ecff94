from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from minuet.benchmarks.budget import Budget, Device, Limit
from minuet.benchmarks.compare import drift
from minuet.benchmarks.gate import FAIL, INCONCLUSIVE, PASS, Verdict, gate, outcome_of
from minuet.benchmarks.subject import artifact_hash
from minuet.contracts.artifact import Artifact, FileEntry, Manifest, Parity
from minuet.contracts.errors import RequestError
from minuet.contracts.report import Operator
from tests.benchmarks.noise import in_turns

OPEN = Budget(name="no latency", limits=(Limit(metric="bytes", at_most=10_000_000),))


def drawn(seed: int, count: int = 200, middle: float = 100.0) -> tuple[float, ...]:
    rng = np.random.default_rng(seed)
    return tuple((middle * np.exp(0.02 * rng.gamma(2.0, 1.0, count))).tolist())


def budget(metric: str, at_most: float, **changes: Any) -> Budget:
    return Budget(name="b", limits=(Limit(metric=metric, at_most=at_most, **changes),))


@pytest.mark.parametrize(
    ("at_most", "outcome"), [(120.0, PASS), (90.0, FAIL), (103.5, INCONCLUSIVE)]
)
def test_a_median_is_judged_by_the_ends_of_its_interval(
    make_run: Any, make_report: Any, at_most: float, outcome: str
) -> None:
    report = make_report(make_run(drawn(0, 30)))
    (verdict,) = gate(report, budget("total.p50", at_most))
    assert verdict.outcome == outcome
    assert verdict.low is not None and verdict.high is not None
    assert (verdict.low > at_most, verdict.high > at_most) == {
        PASS: (False, False),
        FAIL: (True, True),
        INCONCLUSIVE: (False, True),
    }[outcome]


def test_a_lucky_median_below_the_limit_does_not_pass(make_run: Any, make_report: Any) -> None:
    samples = (80.0, 81.0, 82.0, 99.0, 140.0, 150.0)  # the median is 90.5
    (verdict,) = gate(make_report(make_run(samples)), budget("total.p50", 95.0))
    assert verdict.value == pytest.approx(90.5) and verdict.outcome == INCONCLUSIVE
    assert "samples would decide; there are 6" in verdict.note


def test_a_tail_needs_hundreds_of_samples_and_says_so(make_run: Any, make_report: Any) -> None:
    limits = budget("total.p99", 500.0)
    (few,) = gate(make_report(make_run(drawn(1, 100))), limits)
    (many,) = gate(make_report(make_run(drawn(1, 900))), limits)
    assert few.outcome == INCONCLUSIVE and few.high is None
    needed = int(few.note.split()[1])
    assert 400 < needed < 900
    assert many.outcome == PASS


def test_a_run_that_heats_above_the_limit_does_not_pass(make_run: Any, make_report: Any) -> None:
    heated = tuple(np.array(drawn(2, 400)) * np.repeat([1.0, 1.0, 1.0, 1.25, 1.25], 80))
    limits = budget("total.p50", 110.0)
    (verdict,) = gate(make_report(make_run(heated)), limits)
    assert verdict.value is not None and verdict.value < 110 and verdict.outcome != PASS


def test_numbers_without_noise_are_just_compared(make_run: Any, make_report: Any) -> None:
    report = make_report(make_run())
    assert [v.outcome for v in gate(report, budget("peak_rss", 200))] == [PASS]
    assert [v.outcome for v in gate(report, budget("peak_rss", 199))] == [FAIL]
    assert [v.outcome for v in gate(report, budget("nfe", 1))] == [FAIL]


def test_a_share_is_taken_of_the_other_artifact(make_run: Any, make_report: Any) -> None:
    small = make_run(artifact="onnx-int8", bytes_on_disk=1_100_000)
    limits = budget("bytes", 0.3, artifact="onnx-int8", of="onnx-fp32")
    (verdict,) = gate(make_report(make_run(), small), limits)
    assert verdict.outcome == PASS and verdict.value == pytest.approx(0.275)
    (verdict,) = gate(make_report(make_run(), replace(small, bytes_on_disk=1_300_000)), limits)
    assert verdict.outcome == FAIL and "0.325 of onnx-fp32" in str(verdict)
    (verdict,) = gate(make_report(small), limits)
    assert verdict.outcome == INCONCLUSIVE and "no onnx-fp32 in the report" in verdict.note


def test_what_was_not_measured_never_passes(make_run: Any, make_report: Any) -> None:
    refused = make_run(samples_ms={}, peak_rss_mib=None, refusal="openvino is not installed")
    limits = Budget(
        name="b",
        limits=(
            Limit(metric="total.p50", at_most=900),
            Limit(metric="stage.text.p50", at_most=900),
            Limit(metric="peak_rss", at_most=9000),
            Limit(metric="total.p50", at_most=900, runtime="executorch"),
        ),
    )
    verdicts = gate(make_report(refused), limits)
    assert {verdict.outcome for verdict in verdicts} == {INCONCLUSIVE}
    assert "not run: openvino is not installed" in verdicts[0].note
    assert "no run of the report is meant" in verdicts[3].note
    (silent,) = gate(make_report(make_run()), budget("stage.text.p50", 900))
    assert silent.outcome == INCONCLUSIVE and silent.note == "the run has no stage.text"


def test_a_sample_that_is_no_number_decides_nothing(make_run: Any, make_report: Any) -> None:
    (verdict,) = gate(make_report(make_run((1.0, float("nan")))), budget("total.p50", 900))
    assert verdict.outcome == INCONCLUSIVE and "finite" in verdict.note


def test_the_same_model_twice_is_hardly_ever_failed(make_run: Any, make_report: Any) -> None:
    outcomes = []
    for seed in range(40):
        new, old = (make_report(make_run(drawn(2 * seed + i, 60))) for i in (0, 1))
        outcomes.append(gate(new, OPEN, old)[-1].outcome)
    assert outcomes.count(FAIL) <= 1
    assert outcomes.count(PASS) >= 36


def test_a_planted_slow_down_is_caught_and_named(make_run: Any, make_report: Any) -> None:
    caught = 0
    for seed in range(20):
        new = make_report(make_run(drawn(seed, 100, 105.0)))
        verdict = gate(new, OPEN, make_report(make_run(drawn(seed + 500, 100))))[-1]
        caught += verdict.outcome == FAIL
    assert caught >= 18
    assert verdict.metric == "total.p50 over baseline"
    assert verdict.value == pytest.approx(1.05, abs=0.02)


def test_a_drifting_report_is_not_compared(make_run: Any, make_report: Any) -> None:
    hot = tuple(np.array(drawn(1)) * np.linspace(1.0, 1.4, 200))
    verdict = gate(make_report(make_run(hot)), OPEN, make_report(make_run(drawn(2))))[-1]
    assert verdict.outcome == INCONCLUSIVE and "the report drifts by +" in verdict.note


def test_another_machines_baseline_is_refused_unless_asked_for(
    make_run: Any, make_report: Any, machine: Any
) -> None:
    ours = make_report(make_run(drawn(1)))
    theirs = make_report(make_run(drawn(2)), machine=replace(machine, cpu="Fast 1", cores=64))
    with pytest.raises(RequestError, match=r"another machine .*'Fast 1'.*64"):
        gate(ours, OPEN, theirs)
    assert gate(ours, OPEN, theirs, allow_strangers=True)[-1].outcome == PASS


def test_a_baseline_without_the_same_artifact_is_refused(make_run: Any, make_report: Any) -> None:
    ours, theirs = make_report(make_run()), make_report(make_run(artifact="onnx-fp16"))
    with pytest.raises(RequestError, match="nothing to compare: report has onnx-fp32 on ort"):
        gate(ours, OPEN, theirs)
    with pytest.raises(RequestError, match="with 4 threads"):
        gate(ours, OPEN, make_report(make_run(threads=4)))


def test_another_build_is_compared_and_said_to_be_one(make_run: Any, make_report: Any) -> None:
    ours = make_report(make_run(drawn(1)))
    theirs = make_report(make_run(drawn(2), artifact_sha256="b" * 64))
    assert gate(ours, OPEN, theirs)[-1].note == "another build of the artifact"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([PASS, PASS], PASS),
        ([PASS, INCONCLUSIVE], INCONCLUSIVE),
        ([INCONCLUSIVE, FAIL], FAIL),
        ([], INCONCLUSIVE),
    ],
)
def test_one_failure_decides_and_nothing_is_no_pass(outcomes: list[str], expected: str) -> None:
    verdicts = [
        Verdict(outcome=o, artifact="a", runtime="r", metric="bytes", limit=1.0, unit="B")
        for o in outcomes
    ]
    assert outcome_of(verdicts) == expected


def test_a_budget_for_another_size_is_refused_with_both(make_run: Any, make_report: Any) -> None:
    limit = Limit(metric="bytes", at_most=1e9)
    budget = Budget(name="large", limits=(limit,), size=512)
    with pytest.raises(RequestError, match="for 512 px, the report for 256 px"):
        gate(make_report(make_run(), size=256), budget)
    assert gate(make_report(make_run(), size=512), budget)


# --- limits --------------------------------------------------------------------------------------


def test_what_is_undecided_says_how_many_samples_would_decide(
    make_run: Any, make_report: Any
) -> None:
    (limited,) = gate(make_report(make_run(drawn(0, 30))), budget("total.p50", 103.5))
    assert limited.needed > 30 and f"about {limited.needed} samples" in limited.note
    rng = np.random.default_rng(14)
    new, old = (make_report(make_run(m * rng.lognormal(0, 0.1, 25))) for m in (108, 100))
    compared = gate(new, OPEN, old)[-1]
    assert compared.outcome == INCONCLUSIVE and compared.needed > 25
    assert f"about {compared.needed} samples would decide; there are 25" in compared.note


def test_a_floor_is_the_mirror_of_a_ceiling(make_run: Any, make_report: Any) -> None:
    report = make_report(make_run(drawn(0, 60)))
    floors = [
        Budget(name="b", limits=(Limit(metric="total.p50", at_least=at_least),))
        for at_least in (90.0, 120.0, 104.0)
    ]
    kept, broken, open_ = (gate(report, floor)[0] for floor in floors)
    assert (kept.outcome, broken.outcome, open_.outcome) == (PASS, FAIL, INCONCLUSIVE)
    assert str(broken).endswith("at least 120 ms")


def test_the_newer_metrics_are_read(make_run: Any, make_report: Any) -> None:
    run = make_run(
        peak_pss_mib=90.0, mapped_mib=4.0, energy_mj=12.5, shown=8, samples_ms={"sustained": [7.0]}
    )
    found = {
        metric: gate(make_report(run), budget(metric, 1e12))[0].value
        for metric in ("peak_pss", "mapped", "energy", "macs_per_frame", "sustained.p50")
    }
    assert list(found.values()) == [90.0, 4.0, 12.5, 1.25e8, 7.0]
    blank = make_run(unmetered="no battery is read here")
    (energy,) = gate(make_report(blank), budget("energy", 5))
    assert energy.outcome == INCONCLUSIVE and energy.note == "not measured: no battery is read here"


def test_a_fall_back_to_another_unit_is_a_broken_limit(make_run: Any, make_report: Any) -> None:
    operators = (
        Operator(name="a", kind="Conv", unit="QNNExecutionProvider", p50_ms=9.0),
        Operator(name="b", kind="Resize", unit="CPUExecutionProvider", p50_ms=1.0),
    )
    report = make_report(make_run(operators=operators))
    (verdict,) = gate(report, budget("off.QNN*", 0.05))
    assert verdict.outcome == FAIL and verdict.value == pytest.approx(0.1)
    assert gate(report, budget("off.QNN*", 0.1001))[0].outcome == PASS
    (blind,) = gate(make_report(make_run(unplaced="it tells none")), budget("off.QNN*", 0.1))
    assert blind.outcome == INCONCLUSIVE and blind.note == "not measured: it tells none"


def test_a_proof_is_judged_only_of_the_bundle_that_was_measured(
    make_run: Any, make_report: Any
) -> None:
    parity = Parity(verdict="pass", backend="ort: 1.31", metric="worst psnr, dB", value=38.0)
    artifact = Artifact(
        target="onnx",
        precision="fp32",
        entry="m.onnx",
        files=(FileEntry(path="m.onnx", bytes=1, sha256="0" * 64),),
        requires={},
        parity=(parity,),
    )
    manifest = Manifest(
        name="sticker",
        family="f",
        programs={},
        sampler={},
        artifacts=(artifact,),
        files=(),
        minuet="0",
        source_sha256="",
    )
    floor = Budget(name="b", limits=(Limit(metric="parity.db", at_least=40.0, unit="dB"),))
    same = make_report(make_run(artifact_sha256=artifact_hash(artifact)))
    (verdict,) = gate(same, floor, manifest=manifest)
    assert verdict.outcome == FAIL and "parity.db 38 dB, at least 40 dB" in str(verdict)
    assert "--bundle" in gate(same, floor)[0].note
    with pytest.raises(RequestError, match="not the bundle that was measured"):
        gate(make_report(make_run()), floor, manifest=manifest)


def test_a_budget_of_another_device_is_refused_unless_asked_for(
    make_run: Any, make_report: Any
) -> None:
    phone = replace(OPEN, device=Device(os="Android*"))
    with pytest.raises(RequestError, match=r"another machine \(os 'Linux 6.1', not 'Android\*'\)"):
        gate(make_report(make_run()), phone)
    assert gate(make_report(make_run()), phone, allow_strangers=True)[0].outcome == PASS
    assert gate(make_report(make_run()), replace(OPEN, device=Device(cores=2)))


# --- in turns ------------------------------------------------------------------------------------


def sides(make_run: Any, make_report: Any, old: Any, new: Any, **changes: Any) -> Any:
    return make_report(make_run(new, **changes), make_run(old, side="base"))


def test_two_sides_are_compared_and_only_the_new_is_limited(
    make_run: Any, make_report: Any
) -> None:
    old, new = in_turns(np.random.default_rng(0), 300, (1.0, 1.08))
    report = sides(make_run, make_report, old, new, bytes_on_disk=11_000_000)
    size, latency = gate(report, OPEN)
    assert (size.outcome, size.metric) == (FAIL, "bytes")
    assert (latency.outcome, latency.metric) == (FAIL, "total.p50 over baseline")
    assert latency.value == pytest.approx(1.08, abs=0.02) and latency.samples == 300


def test_a_base_without_its_new_run_is_refused(make_run: Any, make_report: Any) -> None:
    report = make_report(make_run(), make_run(artifact="onnx-int8", side="base"))
    with pytest.raises(
        RequestError, match=r"nothing to compare: report has onnx-fp32 .* onnx-int8"
    ):
        gate(report, OPEN)


def test_heat_that_slows_both_hides_no_pass_and_no_fail(make_run: Any, make_report: Any) -> None:
    rng = np.random.default_rng(1)
    heat = np.linspace(1, 1.3, 300)
    for factor, outcome in ((1.0, INCONCLUSIVE), (1.08, FAIL)):
        old, new = in_turns(rng, 300, (1.0, factor), shared=0.02, own=0.02)
        verdict = gate(sides(make_run, make_report, old * heat, new * heat), OPEN)[-1]
        assert verdict.outcome == outcome
    old, new = in_turns(rng, 300, shared=0.02, own=0.02)
    assert (
        "both drift by +"
        in gate(sides(make_run, make_report, old * heat, new * heat), OPEN)[-1].note
    )
    alone = gate(sides(make_run, make_report, old, new * heat), OPEN)[-1]
    assert alone.outcome == INCONCLUSIVE and "their ratio drifts by +" in alone.note


def test_a_drift_smaller_than_a_slow_down_does_not_excuse_it(
    make_run: Any, make_report: Any
) -> None:
    old, new = in_turns(np.random.default_rng(2), 300, (1.0, 1.3), shared=0.02, own=0.06)
    new *= np.linspace(1, 1.1, 300)
    assert drift(new / old, 0.05) is not None
    assert gate(sides(make_run, make_report, old, new), OPEN)[-1].outcome == FAIL


def test_numbers_are_compared_where_a_budget_says_so(make_run: Any, make_report: Any) -> None:
    wide = replace(OPEN, compare=("bytes", "macs", "energy", "total.p90"))
    old = make_report(make_run(drawn(1)))
    new = make_report(make_run(drawn(2), bytes_on_disk=4_400_000))
    size, work, energy, tail = gate(new, wide, old)[1:]
    assert (size.outcome, size.value) == (FAIL, 1.1)
    assert (work.outcome, work.value) == (PASS, 1.0)
    assert (energy.outcome, energy.note) == (INCONCLUSIVE, "not measured")
    assert tail.metric == "total.p90 over baseline" and tail.outcome == PASS


def test_many_comparisons_raise_no_more_false_alarms_than_one(
    make_run: Any, make_report: Any
) -> None:
    names = [f"stage.{at}" for at in range(12)]
    many = replace(OPEN, compare=tuple(f"{name}.p50" for name in names), min_effect=0.001)
    alarms = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        rows = [{name: tuple(rng.lognormal(0, 0.05, 40)) for name in names} for _ in (0, 1)]
        new, old = (make_report(make_run(samples_ms=row)) for row in rows)
        alarms += outcome_of(gate(new, many, old)) == FAIL
    assert alarms <= 1
