"""Export writes what it proved, whole or not at all; verify believes nobody."""

import gc
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.able import Able
from minuet.commands.common import Out
from minuet.commands.export import plan_jobs, settings, sides, words
from minuet.contracts.errors import RequestError
from minuet.contracts.files import sha256_of
from minuet.export.bundle import load_bundle
from minuet.exporting import Job
from minuet.models.config import DenoiserConfig
from minuet.models.student import Sampler, Student, save_student
from minuet.stickers import captions


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest student there is, with weights that do something."""
    from minuet.models.denoiser import Denoiser

    torch.manual_seed(0)
    config = DenoiserConfig(fine=8, coarse=16, depth=1, encoder=8, text=16, film=16, shuffle=8)
    network = Denoiser(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.abs().max():
                parameter.normal_(0, 0.05)
    folder = tmp_path_factory.mktemp("made") / "student"
    levels = Sampler(levels=(1.0, 0.0))
    whole = Student(
        network=network, sampler=levels, tokenizer=captions.tokenizer_json(), card="# Tiny\n"
    )
    save_student(whole, folder)
    return folder


@pytest.fixture(scope="module")
def exported(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tmp_path_factory.mktemp("out") / "bundle"
    done = run("export", str(student), "--to", "onnx", "--size", "64", "-o", str(bundle))
    assert done.exit_code == 0, done.output
    return bundle


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    import shutil

    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def test_an_exported_bundle_is_whole_and_its_parity_is_written_down(exported: Path) -> None:
    manifest = load_bundle(exported)
    (artifact,) = manifest.artifacts
    assert artifact.name == "onnx-fp32" and manifest.sampler["steps"] == 1
    verdicts = {parity.backend.split(":")[0]: parity.verdict for parity in artifact.parity}
    assert verdicts["ort"] == "pass"
    names = {file.path for file in manifest.files}
    assert {"tokenizer.json", "card.md", "golden/00.safetensors"} <= names


def test_the_same_student_and_seed_give_the_same_bytes(
    student: Path, exported: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    done = run("export", str(student), "--to", "onnx", "--size", "64", "-o", str(again))
    assert done.exit_code == 0, done.output
    found, expected = (
        {p.relative_to(root): sha256_of(p) for p in root.rglob("*") if p.is_file()}
        for root in (again, exported)
    )
    assert found == expected


def test_verify_passes_what_was_exported_and_says_what_was_not_run(bundle: Path) -> None:
    done = run("verify", str(bundle), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["verdict"] == "pass" and told["cases"] == 2


def weaken(bundle: Path) -> None:
    """Change one weight in the ONNX file, and mend every hash: a fault that only frames show."""
    path = bundle / "onnx-fp32/model.onnx"
    model = onnx.load(str(path))
    weights = [c for c in model.graph.initializer if c.name.endswith("weight") and len(c.dims) == 4]
    last = weights[-1]
    array = numpy_helper.to_array(last).copy()
    array.flat[0] += 0.5
    last.CopyFrom(numpy_helper.from_array(array, last.name))
    path.write_bytes(model.SerializeToString())
    manifest = json.loads((bundle / "manifest.json").read_text())
    row = manifest["artifacts"][0]["files"][0]
    row.update(bytes=path.stat().st_size, sha256=sha256_of(path))
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_one_changed_weight_behind_a_mended_hash_is_caught(bundle: Path) -> None:
    weaken(bundle)
    load_bundle(bundle)
    done = run("verify", str(bundle))
    assert done.exit_code == 1
    assert "not the model that was exported: onnx-fp32 on ort" in done.output


def test_a_truncated_bundle_is_exit_code_2(bundle: Path) -> None:
    path = bundle / "onnx-fp32/model.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    done = run("verify", str(bundle))
    assert done.exit_code == 2 and "truncated" in done.output


def test_a_bundle_that_nothing_here_opens_is_exit_code_4(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minuet.proof.runtimes_for", lambda target: ())
    assert run("verify", str(bundle)).exit_code == 4


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An exporter that loses a weight."""
    from minuet.export import table, to_onnx
    from minuet.export.files import describe

    def lose(program: Any, bundle: Path, precision: str, **options: Any) -> Any:
        made = to_onnx.export_onnx(program, bundle, precision, **options)
        path = bundle / made.entry
        model = onnx.load(str(path))
        largest = max(model.graph.initializer, key=lambda c: int(np.prod(c.dims)))
        zeros = np.zeros_like(numpy_helper.to_array(largest))
        largest.CopyFrom(numpy_helper.from_array(zeros, largest.name))
        path.write_bytes(model.SerializeToString())
        return describe(
            bundle, target="onnx", precision=precision, entry=path, requires={}, seconds=0
        )

    monkeypatch.setattr(table, "exporter", lambda target: lose)
    yield


@pytest.mark.usefixtures("faulty")
def test_a_failed_parity_fails_the_export_and_writes_nothing(student: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = run("export", str(student), "--to", "onnx", "--size", "64", "-o", str(out))
    assert done.exit_code == 1 and "dB against eager" in done.output
    assert "It first differs in " in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_bundle_is_not_replaced(student: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run("export", str(student), "--to", "onnx", "--size", "64", "-o", str(tmp_path))
    assert done.exit_code == 2 and "is not a bundle" in done.output
    assert (tmp_path / "thesis.txt").exists()


def test_jobs_are_targets_times_precisions_and_omissions_are_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobs = plan_jobs(words("onnx, executorch,onnx"), ["fp32", "fp16"], Out(), Able())
    names = [(job.target, job.precision) for job in jobs]
    assert names == [("onnx", "fp32"), ("onnx", "fp16"), ("executorch", "fp32")]
    assert "executorch is not written in fp16; left out" in capsys.readouterr().err


def test_a_quantized_student_is_what_it_was_quantized_to_where_that_is_written() -> None:
    jobs = plan_jobs(["onnx", "coreml"], [], Out(), Able(quantized="w8a16"))
    assert jobs == [
        Job(target="onnx", precision="w8a16"),
        Job(target="coreml", precision="fp16"),
    ]


@pytest.mark.parametrize(
    ("targets", "precisions", "message"),
    [
        (["tflite"], [], "'tflite' is not known"),
        (["onnx"], ["fp12"], "'fp12' is not known"),
        (["executorch"], ["fp16"], "executorch is written in fp32, int8 only"),
        (["onnx"], ["int8"], r"int8 needs a student quantized for it.*--scheme int8"),
        (["coreml"], ["palettes"], r"palettes needs a student quantized for it.*--scheme palettes"),
        ([], [], "no target was asked for"),
    ],
)
def test_what_cannot_be_written_is_refused(
    targets: list[str], precisions: list[str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        plan_jobs(targets, precisions, Out(), Able())


@pytest.mark.parametrize(
    ("text", "size"),
    [("", None), ("512", (512, 512)), ("320x512", (320, 512)), ("64 X 32", (64, 32))],
)
def test_a_size_is_a_side_or_height_and_width(text: str, size: tuple[int, int] | None) -> None:
    assert sides(text) == size


@pytest.mark.parametrize("text", ["big", "1x2x3", "-4", "64x", "9999999"])
def test_any_other_size_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="--size is a side or HEIGHTxWIDTH"):
        sides(text)


def test_settings_are_json_where_they_can_be() -> None:
    found = settings(["a=3", "b=true", "c=word", 'd=[1, "x"]', "e=x=y"])
    assert found == {"a": 3, "b": True, "c": "word", "d": [1, "x"], "e": "x=y"}
    with pytest.raises(RequestError, match="--set takes name=value"):
        settings(["width"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--consumer", "opencv"), "nothing is known of the consumer 'opencv'; choose from onnx"),
        (("--consumer", "openvino", "--to", "coreml"), "--consumer is for ONNX; add onnx to --to"),
        (("--strip-weights", "--to", "onnx"), "--strip-weights is for TensorRT; add tensorrt"),
        (("--set", "sigmas=1e9", "--to", "onnx"), "--set takes numbers up to 10000"),
    ],
)
def test_options_that_fit_nothing_are_refused_before_anything_is_read(
    arguments: tuple[str, ...], message: str
) -> None:
    done = run("export", *arguments)
    assert done.exit_code == 2 and message in " ".join(done.output.split()), done.output


def test_who_reads_it_decides_the_operator_set(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    given = ("models:autoencoder/f4", "--size", "32", "--to", "onnx", "-o", str(out))
    done = run("export", *given, "--consumer", "tensorrt")
    assert done.exit_code == 0, done.output
    rows = load_bundle(out).artifacts
    assert {row.requires["consumer"] for row in rows} == {"tensorrt"}
    assert all(row.parity[0].verdict == "pass" for row in rows)
    opsets = {onnx.load(str(out / row.entry)).opset_import[0].version for row in rows}
    assert opsets == {21}  # 18 for all others


def test_an_engine_without_its_weights_is_made_where_there_is_a_gpu(tmp_path: Path) -> None:
    """Upstream: a refittable build of TensorRT for RTX 1.7 asks CUDA for the GPU."""
    pytest.importorskip("tensorrt_rtx_bindings")
    out = tmp_path / "bundle"
    given = ("models:autoencoder/f4", "--size", "32", "--to", "tensorrt", "-o", str(out))
    done = run("export", *given, "--strip-weights")
    if torch.cuda.is_available():
        assert done.exit_code == 0, done.output
        assert {row.requires["weights"] for row in load_bundle(out).artifacts} == {"model.onnx"}
        return
    assert done.exit_code == 2 and "Build it with its weights in it" in done.output
    assert not out.exists() and list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two components of a diffusers pipeline as ONNX."""
    pytest.importorskip("diffusers")
    from tests.pipelines import build

    bundle = tmp_path_factory.mktemp("parts") / "bundle"
    wanted = ("--components", "text_encoder,vae_decoder", "--size", "32", "--to", "onnx")
    done = run("export", str(build("sd")), *wanted, "-o", str(bundle))
    assert done.exit_code == 0, done.output
    return bundle


def test_components_of_a_pipeline_lie_side_by_side_and_verify(components: Path) -> None:
    manifest = load_bundle(components)
    assert [row.name for row in manifest.artifacts] == [
        "onnx-fp32/text_encoder",
        "onnx-fp32/vae_decoder",
    ]
    assert manifest.family == "StableDiffusionPipeline"
    assert (components / "pipeline/scheduler/scheduler_config.json").is_file()
    assert not list(components.rglob("*.safetensors.index.json"))
    done = run("verify", str(components), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["cases"] == 4
    ran = {proof["artifact"] for proof in told["proofs"] if proof["parity"]["verdict"] == "pass"}
    assert ran == {row.name for row in manifest.artifacts}


def test_a_weight_changed_in_one_component_is_caught_there(
    components: Path, tmp_path: Path
) -> None:
    import shutil

    bundle = Path(shutil.copytree(components, tmp_path / "bundle"))
    path = bundle / "onnx-fp32/vae_decoder/model.onnx"
    model = onnx.load(str(path))
    largest = max(model.graph.initializer, key=lambda c: int(np.prod(c.dims)))
    largest.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(largest) * np.float32(1.1), largest.name)
    )
    path.write_bytes(model.SerializeToString())
    manifest = json.loads((bundle / "manifest.json").read_text())
    (row,) = [a for a in manifest["artifacts"] if a["component"] == "vae_decoder"]
    row["files"][0].update(bytes=path.stat().st_size, sha256=sha256_of(path))
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = run("verify", str(bundle))
    assert done.exit_code == 1 and "onnx-fp32/vae_decoder on ort" in done.output


def test_a_bundle_of_components_cannot_be_animated_and_says_why(components: Path) -> None:
    done = run("animate", str(components), "a red rabbit")
    assert done.exit_code == 2 and "holds the components text_encoder, vae_decoder" in done.output


def test_a_second_export_of_the_same_takes_the_files_it_has(
    student: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from minuet.export import table

    bundle = Path(shutil.copytree(exported, tmp_path / "bundle"))
    before = sha256_of(bundle / "manifest.json")
    monkeypatch.setattr(table, "exporter", lambda target: pytest.fail("written again"))
    done = run("export", str(student), "--to", "onnx", "--size", "64", "-o", str(bundle))
    assert done.exit_code == 0 and "as before" in done.output, done.output
    assert sha256_of(bundle / "manifest.json") == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_what_a_target_cannot_take_is_named_with_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange_block.py").write_text(
        "import torch\n"
        "class Inner(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return torch.special.bessel_j0(x)\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.block = Inner()\n"
        "    def forward(self, x):\n"
        "        return self.block(x)\n"
        "def make():\n"
        "    return Net(), torch.ones(1, 4)\n"
    )
    monkeypatch.chdir(tmp_path)
    done = run("export", "strange_block:make", "--local-code", "--to", "onnx", "-o", "bundle")
    assert done.exit_code == 2, done.output
    assert "aten.special_bessel_j0.default of block (Inner)" in done.output
    assert done.output.count("bessel_j0") == done.output.count("Rewrite that module") == 1
    assert not (tmp_path / "bundle").exists()


HARD = """
import torch

class SVD(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.svd(x, full_matrices=False)[1]

class FFT(torch.nn.Module):
    def forward(self, x):
        return torch.fft.fft(x).real

class Net(torch.nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block(x)

def svd():
    return Net(SVD()), torch.rand(1, 4, 4)

def fft():
    return Net(FFT()), torch.rand(1, 4, 4)

def alone():
    return SVD(), torch.rand(1, 4, 4)
"""


@pytest.fixture
def collected() -> Iterator[None]:
    """Where coremltools fails, its temporary folder is left to the collector, which complains."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize(
    ("target", "made", "named"),
    [
        ("onnx", "svd", "linalg_svd.default of block (SVD)"),
        ("tensorrt", "svd", "linalg_svd.default of block (SVD)"),
        ("executorch", "svd", "linalg_svd.default of block (SVD)"),
        ("executorch", "alone", "linalg_svd.default of the module (SVD)"),
        ("coreml", "svd", "linalg_svd.default of block (SVD)"),
        ("tensorrt", "fft", "aten.fft_fft.default of block (FFT)"),
        ("executorch", "fft", "aten.fft_fft.default of block (FFT)"),
        ("coreml", "fft", "aten.fft_fft.default of block (FFT)"),
    ],
)
def test_whatever_the_target_the_operator_its_module_and_the_advice_are_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, made: str, named: str
) -> None:
    (tmp_path / "hard_to_export.py").write_text(HARD)
    monkeypatch.chdir(tmp_path)
    word = f"hard_to_export:{made}"
    done = run("export", word, "--local-code", "--to", target, "-o", str(tmp_path / "bundle"))
    assert done.exit_code in (1, 2), done.output
    assert done.output.count(named) == done.output.count("Rewrite that module") == 1, done.output
    assert "\x1b" not in done.output and "Bound" not in done.output
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "not there. Name a student's or a diffusers pipeline's folder"),
        (("models:denoiser/huge",), "no such family"),
        (("models:autoencoder/f4", "--fused"), "--fused is for pipelines"),
        (("no.such.module:make",), "no module no is installed"),
    ],
)
def test_a_source_that_is_none_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run("export", *arguments, "--to", "onnx", "-o", str(tmp_path / "bundle"))
    assert done.exit_code == 2 and message in done.output.replace("\n", " "), done.output


def test_a_family_of_our_own_is_exported_with_weights_of_a_seed(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = run("export", "models:autoencoder/f4", "--size", "32", "--to", "onnx", "-o", str(out))
    assert done.exit_code == 0, done.output
    assert set(load_bundle(out).programs) == {"encoder", "decoder"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd_turbo", "svd"])
def test_a_few_step_pipeline_becomes_one_program(tmp_path: Path, name: str) -> None:
    from tests.pipelines import CALLS, build

    out, call = tmp_path / "bundle", CALLS[name]
    more = ["--frames", str(call["num_frames"])] if "num_frames" in call else ["--guidance", "0"]
    given = ("--fused", "--steps", "2", "--size", "32", "--to", "onnx", *more)
    done = run("export", str(build(name)), *given, "-o", str(out))
    assert done.exit_code == 0, done.output
    manifest = load_bundle(out)
    assert set(manifest.programs) == {"main"} and manifest.sampler["steps"] == 2
