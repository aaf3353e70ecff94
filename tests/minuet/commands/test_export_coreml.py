"""What the command line asks of Core ML is in the bundle, proved, and told."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.contracts.files import sha256_of
from minuet.export.bundle import load_bundle
from minuet.runtimes.mil.package import load_functions

NETWORK = "models:autoencoder/f4"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def exported(bundle: Path, *arguments: str) -> str:
    done = run("export", NETWORK, "--to", "coreml", "--size", "16", "-o", str(bundle), *arguments)
    assert done.exit_code == 0, done.output
    return str(done.output)


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    bundle = tmp_path_factory.mktemp("coreml") / "bundle"
    return bundle, exported(bundle, "--also", "24,16")


def test_a_package_holds_a_function_a_size_and_the_manifest_their_signatures(
    functions: tuple[Path, str],
) -> None:
    bundle, _ = functions
    manifest = load_bundle(bundle)
    assert set(manifest.programs) == {"encoder", "encoder_24x24", "decoder", "decoder_24x24"}
    for artifact in manifest.artifacts:
        other = f"{artifact.component}_24x24"
        assert artifact.programs == (artifact.component, other)
        assert list(load_functions(bundle / artifact.entry)) == ["main", other]
        assert {one.backend.split(":")[0]: one.verdict for one in artifact.parity}["mil"] == "pass"


def test_units_release_and_hazards_are_said_and_kept(functions: tuple[Path, str]) -> None:
    bundle, said = functions
    for artifact in load_bundle(bundle).artifacts:
        assert artifact.requires["units"] == "all" and artifact.requires["ios"] == "18"
        (listed,) = (file.path for file in artifact.files if file.path.endswith("hazards.json"))
        assert isinstance(json.loads((bundle / listed).read_text()), list)
    assert "iOS 18, units all" in said and " hazard" in said


def test_verify_runs_every_size(functions: tuple[Path, str], tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(functions[0], tmp_path / "bundle"))
    assert run("verify", str(bundle)).exit_code == 0
    path = bundle / "golden/encoder_24x24/00.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith("output."))
    save_file(tensors | {name: np.zeros_like(tensors[name])}, path)
    manifest = json.loads((bundle / "manifest.json").read_text())
    (row,) = (
        one for one in manifest["files"] if one["path"].endswith("encoder_24x24/00.safetensors")
    )
    row.update(bytes=path.stat().st_size, sha256=sha256_of(path))
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = run("verify", str(bundle))
    assert done.exit_code == 1 and "coreml-fp16/encoder on mil" in done.output


def test_one_graph_takes_every_size(tmp_path: Path) -> None:
    how = ("--also", "24", "--also-as", "shapes", "--precision", "fp32", "--ios", "17")
    said = exported(tmp_path / "bundle", *how, "--units", "cpuOnly")
    assert "reported to fail" in said and "iOS 17, units cpuOnly" in said
    for artifact in load_bundle(tmp_path / "bundle").artifacts:
        assert artifact.requires["ios"] == "17" and "functions" not in artifact.requires
        assert artifact.programs[1:] == (f"{artifact.component}_24x24",)


REFUSED = {
    "--ios 15": "iOS 15 is not known; choose from 16, 17, 18",
    "--also 24 --ios 17": "a function a size needs iOS 18, not 17",
    "--also 24 --also-as maps": "'maps' is not known; choose from functions, shapes",
    "--also big": "--also is a side or HEIGHTxWIDTH in px, got 'big'",
    "--also 16": "the same at every size",
    "--units gpu": "'gpu' are not known; choose from all",
    "--precision fp16,fp32 --units cpuAndNeuralEngine": "computes in float16 only",
    "--to onnx --ios 17 --also 24": "--ios, --also is for Core ML; add coreml to --to",
}


@pytest.mark.parametrize("asked", REFUSED)
def test_what_does_not_fit_together_is_refused_in_words(asked: str, tmp_path: Path) -> None:
    out = ("--to", "coreml", "--size", "16", "-o", str(tmp_path / "bundle"))
    done = run("export", NETWORK, *out, *asked.split())
    assert done.exit_code == 2 and REFUSED[asked] in " ".join(done.output.split())
    assert not (tmp_path / "bundle").exists()


LOUD = """
import torch

class Loud(torch.nn.Module):
    def forward(self, x):
        return torch.sqrt((x * 300).square())

def make():
    return Loud(), [torch.ones(1, 4)]
"""


def test_a_large_magnitude_stops_the_export_and_its_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loud_network.py").write_text(LOUD)
    monkeypatch.chdir(tmp_path)
    done = run("export", "loud_network:make", "--local-code", "--to", "coreml", "-o", "bundle")
    assert done.exit_code == 1 and not Path("bundle").exists()
    assert "float16 overflows: 4 values up to 9e+04" in done.output
    assert "scale its inputs down" in done.output
