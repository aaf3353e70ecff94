"""What optimum is not told, or cannot take, is refused before anything is written."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from minuet.__main__ import app
from minuet.commands.common import Out
from minuet.contracts.errors import RequestError
from minuet.optimum import for_optimum


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["export", *arguments])
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize(
    "option",
    [
        "--to coreml", "--size 64", "--components unet", "--fused", "--steps 3", "--frames 2",
        "--guidance 1", "--set a=1", "--local-code", "--gpu SM89", "--max-fallback 0.5", "--ios 16",
        "--also 64", "--also-as shapes", "--units cpuOnly", "--seed 1", "--threads 2",
    ],
)  # fmt: skip
def test_an_option_that_says_nothing_to_it_is_refused(tmp_path: Path, option: str) -> None:
    code, said = run(str(tmp_path), "--optimum", *option.split(), "-o", str(tmp_path / "out"))
    assert code == 2 and f"{option.split()[0]} says nothing to --optimum" in said


@pytest.mark.parametrize("precision", ["int8", "fp99"])
def test_only_widths_of_floats_are_precisions(tmp_path: Path, precision: str) -> None:
    out = tmp_path / "out"
    code, said = run(str(tmp_path), "--optimum", "--precision", precision, "-o", str(out))
    assert code == 2 and f"optimum's files are fp32, fp16, bf16, not {precision}." in said
    assert not out.exists()


def test_what_is_no_pipeline_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(RequestError, match="a student; --optimum is for pipelines"):
        for_optimum(str(tmp_path), tmp_path / "out", [], {}, Out())
    with pytest.raises(RequestError, match="nowhere: not there; --optimum takes a diffusers"):
        for_optimum(str(tmp_path / "nowhere"), tmp_path / "out", [], {}, Out())
