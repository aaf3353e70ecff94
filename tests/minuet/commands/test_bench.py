import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.commands.bench import drawn_inputs, is_report, webp, work_of
from minuet.commands.gate import read_report
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.errors import DamagedError
from minuet.contracts.tensors import Signature, TensorSpec
from minuet.export.bundle import Golden, seal, write_golden
from minuet.export.files import file_entry
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
    assert fake.runtime_version == "fake 1.0" and fake.peak_rss_mib
    assert fake.unwatched == "fake does not say what its operators took"
    assert absent.refusal == "absent is not installed" and not absent.samples_ms
    text = (tmp_path / "report" / "report.html").read_text()
    assert "tiny" in text and "data:image/webp;base64," in text
    assert "not run: onnx-fp32 on absent: absent is not installed" in done.output
    assert "stages: onnx-fp32 on fake: not measured: fake does not say" in done.output


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


def test_a_stage_that_grew_slow_trips_its_budget_and_the_rest_stays_quiet(tmp_path: Path) -> None:
    reports = {}
    for name, layers in (("sound", 1), ("slow", 16)):
        folder = staged_bundle(tmp_path / name, layers)
        chosen = ("--runtimes", "ort", "--samples", 10, "--seconds", 30, "--threads", 1)
        done = run("bench", folder, "-o", tmp_path / f"{name}-report", *chosen)
        assert done.exit_code == 0, done.output
        assert "stages: onnx-fp32 on ort: " in done.output and "compose" in done.output
        reports[name] = read_report(tmp_path / f"{name}-report").runs[0]
        assert "<h2>Stages</h2>" in (tmp_path / f"{name}-report" / "report.html").read_text()
    budget = tmp_path / "b.toml"
    limits = [
        f'[[limits]]\nmetric = "stage.{stage}.p50"\nunit = "ms"\nat_most = {at_most}\n'
        for stage in ("read", "compose")
        for at_most in [4 * np.median(reports["sound"].samples_ms[f"stage.{stage}"])]
    ]
    budget.write_text('schema = 1\nname = "b"\n' + "".join(limits))
    assert run("gate", tmp_path / "sound-report", "--budget", budget).exit_code == 0
    done = run("gate", tmp_path / "slow-report", "--budget", budget)
    assert done.exit_code == 1, done.output
    assert "fail: onnx-fp32 on ort: stage.compose.p50" in done.output
    assert "pass: onnx-fp32 on ort: stage.read.p50" in done.output


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
