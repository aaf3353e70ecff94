import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.benchmarks.devices import session
from minuet.benchmarks.foreign import read_report
from minuet.benchmarks.measure import Measured
from minuet.benchmarks.process import Child
from minuet.benchmarks.subject import Job
from minuet.commands.bench import doubts, is_report, not_measured, remarks, webp
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.errors import DamagedError
from minuet.contracts.report import Machine, Peaks, Report, Run
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.bundle import Golden, seal, write_golden
from minuet.export.files import file_entry
from minuet.measuring import PEAK_SECONDS, PROCESSES, drawn_inputs, shown, work_of
from minuet.runtimes.table import RUNTIMES

RUNTIME = """
import contextlib
import numpy as np
from minuet.contracts.errors import Refusal

class Fake:
    name, targets = "fake", ("onnx",)
    def available(self): return None
    def version(self): return "fake 1.0"
    @contextlib.contextmanager
    def open(self, bundle, artifact, signature, *, threads=0): yield self
    def run(self, inputs): return {"frames": np.full((8, 4, 16, 16), 200, np.uint8)}

class Absent(Fake):
    name = "absent"
    def available(self): return Refusal("absent is not installed")
"""
SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="image", axes="BCHW", shape=(1, 4, 16, 16), dtype="float32", low=0, high=1),
        TensorSpec(name="tokens", axes="BL", shape=(1, 16), dtype="int32"),
    ),
    outputs=(TensorSpec(name="frames", axes="TCHW", shape=(8, 4, 16, 16), dtype="uint8"),),
)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fake_runtime.py").write_text(RUNTIME)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(RUNTIMES, "fake", "fake_runtime:Fake")
    monkeypatch.setitem(RUNTIMES, "absent", "fake_runtime:Absent")
    folder = tmp_path / "bundle"
    model = folder / "onnx-fp32" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"x" * 1000)
    artifact = Artifact(
        target="onnx",
        precision="fp32",
        entry="onnx-fp32/model.onnx",
        files=(file_entry(folder, model),),
        requires={},
    )
    frames = np.zeros((8, 4, 16, 16), np.uint8)
    case = Golden(name="a", inputs=drawn_inputs(SIGNATURE, 0), outputs={"frames": frames})
    write_golden(folder, [case])
    seal(
        folder,
        name="tiny",
        family="test",
        programs={"main": SIGNATURE},
        sampler={"steps": 2, "nfe": 4},
        artifacts=[artifact],
        source_sha256="0" * 64,
    )
    return folder


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def bench(bundle: Path, out: Path, *more: object) -> Any:
    chosen = ("--runtimes", "fake,absent", "--samples", "6", "--seconds", "30")
    return run("bench", bundle, "-o", out, *chosen, *more)


def test_a_bundle_becomes_a_report_and_a_page(bundle: Path, tmp_path: Path) -> None:
    done = bench(bundle, tmp_path / "report")
    assert done.exit_code == 0, done.output
    report = read_report(tmp_path / "report")
    by_runtime = {run.runtime: run for run in report.runs}
    fake, absent = by_runtime["fake"], by_runtime["absent"]
    assert len(fake.samples_ms["total"]) == 6 and fake.samples_ms["load"]
    assert (fake.steps, fake.nfe, fake.bytes_on_disk) == (2, 4, 1000)
    assert fake.runtime_version == "fake 1.0" and fake.peak_rss_mib and fake.shown == 8
    assert fake.batch > 1 and "one alone is too short for this clock" in done.output
    assert fake.unmetered or fake.energy_mj
    assert fake.unplaced == fake.unwatched and not fake.operators
    assert report.measured_at.endswith("+00:00") and report.overhead_us
    assert fake.unwatched == "fake does not say what its operators took"
    assert absent.refusal == "absent is not installed" and not absent.samples_ms
    text = (tmp_path / "report" / "report.html").read_text()
    assert "tiny" in text and "data:image/webp;base64," in text
    assert "not run: onnx-fp32 on absent: absent is not installed" in done.output
    assert "stages: onnx-fp32 on fake: not measured: fake does not say" in done.output
    if sys.platform == "linux":
        assert fake.peak_pss_mib and fake.mapped_mib == 0


def test_a_budget_that_is_for_others_loses_nothing_that_was_measured(
    bundle: Path, tmp_path: Path
) -> None:
    done = bench(bundle, tmp_path / "report", "--budget", "laptop-2core")
    assert done.exit_code == 2
    assert "is for 512 px, the report for 16 px; choose the budget of that size" in done.output
    assert read_report(tmp_path / "report").runs and (tmp_path / "report/report.html").exists()


@pytest.mark.parametrize(
    "sampler", [{"steps": "two"}, {"nfe": [1]}, {"steps": 1.5}, {"macs": "many"}, {"steps": True}]
)
def test_a_sampler_without_numbers_is_damage(sampler: dict[str, Any]) -> None:
    manifest = Manifest(
        name="odd",
        family="test",
        programs={},
        sampler=sampler,
        artifacts=(),
        files=(),
        minuet="0",
        source_sha256="",
    )
    with pytest.raises(DamagedError, match=f"{next(iter(sampler))} of its sampler is"):
        work_of(manifest)


def test_a_program_gets_one_json_object(bundle: Path, tmp_path: Path) -> None:
    done = bench(bundle, tmp_path / "report", "--json")
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["runs"]) == 2


def test_a_report_is_gated_with_the_promised_exit_codes(bundle: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    bench(bundle, report)
    for at_most, runtime, code, word in (
        (10_000, "fake", 0, "verdict: pass"),
        (999, "fake", 1, "1 of 1 limits are broken"),
        (10_000, "absent", 3, "not decided"),
    ):
        budget = tmp_path / "b.toml"
        budget.write_text(
            f'schema = 1\nname = "b"\n[[limits]]\nmetric = "bytes"\nat_most = {at_most}\n'
            f'runtime = "{runtime}"\n'
        )
        done = run("gate", report, "--budget", budget)
        assert done.exit_code == code and word in done.output
        told = run("gate", report, "--budget", budget, "--json")
        assert told.exit_code == code
        assert json.loads(told.stdout)["verdict"] == {0: "pass", 1: "fail", 3: "inconclusive"}[code]


def test_a_report_replaces_a_report_and_nothing_else(bundle: Path, tmp_path: Path) -> None:
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "me.png").write_bytes(b"")
    done = bench(bundle, precious)
    assert done.exit_code == 2 and "holds something else than a report" in done.output
    assert [path.name for path in precious.iterdir()] == ["me.png"]
    assert is_report(tmp_path / "photos") is False


def test_nothing_that_runs_is_a_missing_backend(bundle: Path, tmp_path: Path) -> None:
    done = run("bench", bundle, "-o", tmp_path / "r", "--runtimes", "absent", "--samples", 2)
    assert done.exit_code == 4 and "minuet doctor" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runtimes", "warp-drive"), "runtime 'warp-drive' is not known"),
        (("--budget", "nonesuch"), "no budget is called 'nonesuch'"),
        (("--runtimes", "executorch"), "no runtime of executorch opens what the bundle holds"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_measured(
    bundle: Path, tmp_path: Path, arguments: tuple[str, str], message: str
) -> None:
    done = run("bench", bundle, "-o", tmp_path / "r", *arguments)
    assert done.exit_code == 2 and message in done.output
    assert not (tmp_path / "r").exists()


def test_drawn_inputs_keep_to_the_signature() -> None:
    found = drawn_inputs(SIGNATURE, 3)
    SIGNATURE.check_inputs(found)
    assert 0 <= found["image"].min() < 0.1 and 0.9 < found["image"].max() <= 1
    assert not found["tokens"].any()


def test_a_sheet_plays_all_its_frames_for_ever() -> None:
    image = pytest.importorskip("PIL.Image")
    from io import BytesIO

    frames = np.random.default_rng(0).integers(0, 255, (8, 4, 32, 32)).astype(np.float32)
    with image.open(BytesIO(webp(frames, 16))) as found:
        assert found.n_frames == 8 and found.size == (16, 16) and found.info["loop"] == 0


@pytest.mark.parametrize(
    ("shape", "axes", "frames"), [((8, 4, 2, 2), "TCHW", 8), ((1, 4, 2, 2), "BCHW", 0)]
)
def test_the_frames_that_are_shown_are_those_of_the_axis_of_time(
    shape: tuple[int, ...], axes: str, frames: int
) -> None:
    spec = TensorSpec(name="frames", axes=axes, shape=shape, dtype="uint8")
    assert shown(Signature(inputs=(), outputs=(spec,))) == frames


@pytest.mark.slow
def test_executorch_files_in_float_and_int8_are_measured_by_executorch(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    seal(
        folder,
        name="tiny",
        family="test",
        programs={"main": ONE_FRAME},
        sampler={"steps": 1, "nfe": 1},
        artifacts=executorch_files(folder),
        source_sha256="0" * 64,
    )
    done = run("bench", folder, "-o", tmp_path / "r", "--samples", 2, "--seconds", 5, "--json")
    assert done.exit_code == 0, done.output
    rows = {row.artifact: row for row in read_report(tmp_path / "r").runs}
    assert {name: row.runtime for name, row in rows.items()} == dict.fromkeys(
        ("executorch-fp32", "executorch-int8"), "executorch"
    )
    for row in rows.values():
        assert len(row.samples_ms["total"]) == 2 and row.samples_ms["load"] and not row.refusal
        assert row.runtime_version.startswith("executorch") and row.peak_rss_mib


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A program of two stages, and one whose second stage has grown."""
    root = tmp_path_factory.mktemp("staged")
    sizes = {"sound": 1, "slow": 16}
    return {name: staged_bundle(root / name, layers) for name, layers in sizes.items()}


def test_a_stage_that_grew_slow_trips_its_budget_and_the_rest_stays_quiet(
    staged: dict[str, Path], tmp_path: Path
) -> None:
    reports = {}
    for name, folder in staged.items():
        chosen = ("--runtimes", "ort", "--samples", 10, "--seconds", 30, "--threads", 1)
        done = run("bench", folder, "-o", tmp_path / f"{name}-report", *chosen)
        assert done.exit_code == 0, done.output
        assert "stages: onnx-fp32 on ort: " in done.output and "compose" in done.output
        reports[name] = read_report(tmp_path / f"{name}-report").runs[0]
        assert reports[name].operators and not reports[name].unplaced
        assert "compose" in (tmp_path / f"{name}-report" / "report.html").read_text()
    budget = tmp_path / "b.toml"
    limits = [
        f'[[limits]]\nmetric = "stage.{stage}.p50"\nunit = "ms"\nat_most = {at_most}\n'
        for stage in ("read", "compose")
        for at_most in [4 * np.median(reports["sound"].samples_ms[f"stage.{stage}"])]
    ]
    budget.write_text('schema = 1\nname = "b"\nlevel = 0.6\n' + "".join(limits))
    # On a busy machine a doubt may be left; none may call the sound one slow.
    assert "fail:" not in run("gate", tmp_path / "sound-report", "--budget", budget).output
    done = run("gate", tmp_path / "slow-report", "--budget", budget)
    assert done.exit_code == 1, done.output
    assert "fail: onnx-fp32 on ort: stage.compose.p50" in done.output
    assert "fail: onnx-fp32 on ort: stage.read.p50" not in done.output


def test_two_bundles_take_turns_and_their_samples_form_pairs(
    staged: dict[str, Path], tmp_path: Path
) -> None:
    slow, sound = staged["slow"], staged["sound"]
    chosen = ("--runtimes", "ort", "--samples", 12, "--seconds", 30, "--threads", 1)
    done = run("bench", slow, "--against", sound, "-o", tmp_path / "r", *chosen)
    assert done.exit_code == 0, done.output
    assert "onnx-fp32 (base)" in done.output and "times as long as the older one" in done.output
    new, old = read_report(tmp_path / "r").runs
    assert (new.side, old.side) == ("", "base") and new.artifact == old.artifact
    assert new.artifact_sha256 != old.artifact_sha256 and new.batch == old.batch
    pairs = list(zip(new.samples_ms["total"], old.samples_ms["total"], strict=True))
    assert len(pairs) == 12 and sum(slower > quicker for slower, quicker in pairs) > 9
    assert len(new.samples_ms["load"]) == PROCESSES + 1
    if sys.platform == "linux":
        assert new.peak_pss_mib and old.peak_pss_mib


def test_a_bundle_may_be_compared_with_itself(bundle: Path, tmp_path: Path) -> None:
    done = bench(bundle, tmp_path / "r", "--against", bundle, "--json")
    assert done.exit_code == 0, done.output
    runs = [row for row in read_report(tmp_path / "r").runs if row.runtime == "fake"]
    assert [row.side for row in runs] == ["", "base"]
    assert runs[0].artifact_sha256 == runs[1].artifact_sha256
    assert len(runs[0].samples_ms["total"]) == len(runs[1].samples_ms["total"]) == 6


def test_two_bundles_that_do_not_do_the_same_work_are_not_compared(
    bundle: Path, staged: dict[str, Path], tmp_path: Path
) -> None:
    done = bench(bundle, tmp_path / "r", "--against", staged["sound"])
    assert done.exit_code == 2 and "compare bundles of one size" in done.output
    done = bench(bundle, tmp_path / "r", "--against", tmp_path / "nothing")
    assert done.exit_code == 2 and "nothing" in done.output
    assert not (tmp_path / "r").exists()


def test_runs_without_a_pause_are_kept_and_told(bundle: Path, tmp_path: Path) -> None:
    done = bench(bundle, tmp_path / "r", "--sustained", "0.2")
    assert done.exit_code == 0, done.output
    assert "sustained: onnx-fp32 on fake: " in done.output
    by_runtime = {row.runtime: row for row in read_report(tmp_path / "r").runs}
    assert len(by_runtime["fake"].samples_ms["sustained"]) > 1


def test_what_a_reader_must_know_of_machine_and_harness_is_said() -> None:
    report = small_report()
    assert not list(doubts(report))
    hot = replace(report, machine=replace(report.machine, throttled=3), overhead_us=50.0)
    heat, harness = doubts(hot)
    assert "heat slowed a core 3 times" in heat and "takes 50 us of each sample" in harness
    (run_,) = report.runs
    lines = list(not_measured([run_, replace(run_, peak_rss_mib=None)]))
    assert lines == [
        "energy: not measured: no counters",
        "PSS, mapped files: not measured: this system does not tell",
    ]
    assert list(remarks(replace(run_, energy_mj=800.4, unmetered=""))) == [
        "energy: onnx-fp32 on ort: 800 mJ a run, the machine's rest included"
    ]


class Lent:
    """A device that is this machine by another name."""

    def machine(self) -> Machine:
        return replace(small_report().machine, cpu="Lent 1")

    def subjects(self, jobs: Mapping[str, Job]) -> dict[str, Any]:
        return {key: partial(Child, job) for key, job in jobs.items()}

    def meter(self, jobs: Mapping[str, Job], found: Mapping[str, Measured]) -> None:
        for into in found.values():
            into.unmetered = "no battery"

    def notes(self) -> tuple[str, ...]:
        return ("lent: it is warm today",)


def test_another_machine_gives_its_name_its_energy_and_its_notes(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    @contextmanager
    def held(word: str, *, cool_seconds: float) -> Iterator[Lent]:
        asked.extend((word, cool_seconds))
        yield Lent()

    monkeypatch.setattr(session, "held", held)
    done = bench(bundle, tmp_path / "r", "--device", "ssh:pi@board")
    assert done.exit_code == 0, done.output
    assert asked == ["ssh:pi@board", session.COOL_SECONDS]
    assert "lent: it is warm today" in done.output
    report = read_report(tmp_path / "r")
    ran = next(row for row in report.runs if row.runtime == "fake")
    assert report.machine.cpu == "Lent 1" and report.machine.throttled == 0
    assert ran.unmetered == "no battery" and ran.energy_mj is None
    bench(bundle, tmp_path / "r", "--device", "ssh:pi@board", "--sustained", "0.1")
    assert asked[-1] == 0, "what is meant to heat does not wait"
    done = bench(bundle, tmp_path / "r2", "--device", "adb", "--peaks")
    assert done.exit_code == 2 and "not the device" in done.output


def test_peaks_are_those_of_the_threads_that_ran(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(threads: int, seconds: float) -> Peaks:
        return Peaks(threads=threads, gflops={"fp32": 50.0}, read_gbs=seconds)

    monkeypatch.setattr("minuet.benchmarks.peaks.measure_peaks", measured)
    done = bench(bundle, tmp_path / "r", "--peaks", "--threads", 2)
    assert done.exit_code == 0, done.output
    found = read_report(tmp_path / "r").peaks
    assert found == Peaks(threads=2, gflops={"fp32": 50.0}, read_gbs=PEAK_SECONDS)


def small_report() -> Report:
    row = Run(
        artifact="onnx-fp32",
        artifact_sha256="0" * 64,
        runtime="ort",
        runtime_version="1",
        threads=1,
        samples_ms={"total": (1.0,)},
        peak_rss_mib=1.0,
        bytes_on_disk=1,
        steps=1,
        nfe=1,
        macs=None,
        unmetered="no counters",
    )
    machine = Machine(cpu="x", cores=1, memory_mib=1, os="y 1", python="3.11", throttled=0)
    return Report(
        bundle="b", machine=machine, runs=(row,), clock_resolution_ns=1.0, minuet="0", seed=0
    )


def staged_bundle(folder: Path, layers: int) -> Path:
    """A program of two stages; the second is so many convolutions."""
    import torch

    from minuet.export.capture import capture
    from minuet.export.to_onnx import export_onnx

    class Program(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read = torch.nn.Conv2d(4, 16, 5, padding=2)
            rows = (torch.nn.Conv2d(16, 16, 3, padding=1) for _ in range(layers))
            self.compose = torch.nn.Sequential(*rows, torch.nn.Conv2d(16, 4, 1))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.compose(self.read(image))
            return found

    spec = replace(ONE_FRAME.inputs[0], shape=(1, 4, 64, 64))
    frames = replace(ONE_FRAME.outputs[0], shape=(1, 4, 64, 64))
    signature = Signature(inputs=(spec,), outputs=(frames,))
    program = capture(Program(), drawn_inputs(signature, 0), signature)
    seal(
        folder,
        name="staged",
        family="test",
        programs={"main": signature},
        sampler={"steps": 1, "nfe": 1},
        artifacts=[export_onnx(program, folder)],
        source_sha256="0" * 64,
    )
    return folder


ONE_FRAME = Signature(
    inputs=(SIGNATURE.inputs[0],),
    outputs=(TensorSpec(name="frames", axes="TCHW", shape=(1, 4, 16, 16), dtype="float32"),),
)


def executorch_files(folder: Path) -> list[Artifact]:
    """Two convolutions for ExecuTorch, in float32 and in int8."""
    import torch

    from minuet.export.capture import capture
    from minuet.export.to_executorch import export_executorch
    from minuet.quantize.apply import quantize_program
    from minuet.quantize.calibrate import Method, calibrate
    from minuet.quantize.recipe import Recipe

    two = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3, padding=1), torch.nn.Conv2d(8, 4, 1))
    inputs = drawn_inputs(ONE_FRAME, 0)
    program = capture(two, inputs, ONE_FRAME)
    ranges = calibrate(program.exported.module(), [inputs])
    recipe = Recipe(
        scheme="int8",
        keep_float=(),
        keep_activations=(),
        layers={"0": "int8", "1": "int8"},
        method=Method(),
        clips=1,
        seed=0,
        student_sha256="",
    )
    made = quantize_program(program.exported, program.inputs, recipe, ranges, "executorch")
    return [
        export_executorch(program, folder),
        export_executorch(replace(program, exported=made), folder, "int8"),
    ]
