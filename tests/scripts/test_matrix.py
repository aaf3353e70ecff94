"""The export matrix says green only of what ran and is the same model."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matrix", ROOT / "scripts" / "matrix.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load()
    monkeypatch.setattr(module, "KEPT", tmp_path / "kept")
    return module


@pytest.fixture(scope="module")
def make() -> Callable[[], Any]:
    """Makes a text encoder with its golden cases."""
    maker: Callable[[], Any] = load().programs("sd_turbo")["text_encoder"]
    return maker


RUNTIMES = {"onnx": "ort", "executorch": "executorch", "coreml": "mil", "tensorrt": "ort"}


@pytest.mark.parametrize("target", RUNTIMES)
def test_a_program_that_is_the_same_model_is_green(
    make: Any, matrix: ModuleType, target: str
) -> None:
    assert matrix.verdict(make, target) == ""


@pytest.mark.parametrize(("target", "runtime"), RUNTIMES.items())
def test_one_changed_row_of_a_weight_is_red(
    make: Any, matrix: ModuleType, target: str, runtime: str
) -> None:
    import torch

    part = make()
    weight = next(part.module.parameters())
    before = weight.clone()
    with torch.no_grad():
        weight[0] *= 1.5
        found = matrix.verdict(lambda: part, target)
        weight.copy_(before)
    assert found.startswith(f"{runtime}: ") and " dB" in found


def test_what_cannot_be_made_is_told_in_one_line(matrix: ModuleType) -> None:
    def fails() -> Any:
        raise RuntimeError("an operator too many\nwith its stack")

    assert matrix.verdict(fails, "onnx") == "an operator too many"


def test_a_program_that_ends_the_process_is_told_by_name_and_the_rest_goes_on(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def process(name: str, target: str, done: Any, timeout: float) -> Any:
        said: list[Any] = [{"programs": ["unet", "vae", "fused"]}]
        said += [{"program": "unet", "why": ""}] if "unet" not in done else []
        if "vae" not in done:
            return said, "the process was ended by SIGSEGV"
        return [*said, {"program": "fused", "why": "red"}, {"sources": {}}], ""

    monkeypatch.setattr(matrix, "_process", process)
    found = matrix._fresh("sd", "onnx", SimpleNamespace(timeout=1.0))
    assert found == {"unet": "", "vae": "the process was ended by SIGSEGV", "fused": "red"}
    assert matrix.kept("sd", "onnx") == found


def test_a_process_that_fails_before_its_first_word_is_told(matrix: ModuleType) -> None:
    found = matrix._fresh("no_such_pipeline", "onnx", SimpleNamespace(timeout=60.0))
    assert list(found) == ["all"]
    assert found["all"].endswith("KeyError: 'no_such_pipeline'")
    assert matrix.kept("no_such_pipeline", "onnx") is None


def test_a_cell_is_kept_while_its_own_sources_stay(
    matrix: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    (tmp_path / "own.py").write_text("1")
    note = {"programs": {"unet": ""}, "sources": {"own.py": matrix._hash("own.py")}}
    file = matrix._note("sd", "onnx")
    file.parent.mkdir()
    file.write_text(json.dumps(note))
    (tmp_path / "other.py").write_text("1")
    assert matrix.kept("sd", "onnx") == {"unet": ""}
    (tmp_path / "own.py").write_text("2")
    assert matrix.kept("sd", "onnx") is None


def test_modules_named_after_another_target_do_not_count(matrix: ModuleType) -> None:
    import minuet.export.to_onnx
    import minuet.export.to_tensorrt
    import minuet.runtimes.mil.runtime  # noqa: F401

    assert "minuet.export.to_tensorrt" in sys.modules
    onnx, tensorrt, coreml = (set(matrix.sources(one)) for one in ("onnx", "tensorrt", "coreml"))
    assert {"export/to_onnx.py", "minuet/constraints.txt"} <= onnx
    assert tensorrt - onnx >= {"export/to_tensorrt.py"}
    assert coreml - onnx >= {"runtimes/mil/runtime.py"}
    assert not any("tensorrt" in path for path in onnx | coreml)


def test_the_page_counts_and_gives_each_reason_once(matrix: ModuleType) -> None:
    rows: dict[str, dict[str, Any]] = {
        "sd": {"onnx": {"unet": "", "fused": "no such operator"}, "coreml": {"unet": ""}},
        "sdxl": {"onnx": {"fused": "no such operator"}, "coreml": None},
    }
    known = {name: dict.fromkeys(matrix.TARGETS) | row for name, row in rows.items()}
    said = matrix.page(known)
    assert "3 of 8 cells were run; of their 4 programs 2 are green, in 1 cells all of" in said
    assert "* coreml, sdxl: not run yet" in said
    assert "| sd | 1/2 | not run | 1/1 ✓ | not run |" in said
    assert "* onnx, sd fused, sdxl fused: no such operator" in said
