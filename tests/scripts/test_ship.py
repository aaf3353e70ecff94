"""What is shipped says of itself what the run's logs and the quality table say."""

import importlib.util
import json
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from minuet.models.student import Sampler, Student, load_student, save_student
from minuet.stickers import captions
from tests.models.tiny import denoiser

ROOT = Path(__file__).resolve().parents[2]
CELL = {"value": 0.91234, "low": 0.85, "high": 0.95}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ship", ROOT / "scripts" / "ship.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_log(folder: Path, *rows: tuple[int, int, float]) -> None:
    """(step, clips, clips a second), with losses that tell the rows apart."""
    folder.mkdir(parents=True)
    lines = [
        {"step": s, "clips": c, "clips_per_second": v, "losses": {"loss": 9.0, "flow": s / 1000}}
        for s, c, v in rows
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_log_is_summed_and_a_resumed_step_counts_once(script: ModuleType, tmp_path: Path) -> None:
    write_log(tmp_path / "a", (10, 600, 10.0), (20, 1200, 5.0), (10, 600, 10.0), (20, 1200, 5.0))
    assert script.facts(tmp_path / "a" / "log.jsonl") == {
        "clips": 1200,
        "minutes": pytest.approx(1 + 2),
        "losses": "flow 0.02",
    }


def test_a_history_goes_from_the_first_stage_to_the_last(
    script: ModuleType, tmp_path: Path
) -> None:
    write_log(tmp_path / "base", (1, 600, 10.0))
    write_log(tmp_path / "teachers" / "style", (5, 300, 5.0))
    recipe = {"seed": 7, "student": {"size": "pocket"}, "teachers": {"style": {"size": "teacher"}}}
    found = script.history(tmp_path, ["base", "teachers/style"], recipe)
    assert found == {
        "seed": 7,
        "size": "teacher",
        "stages": "`base` then `teachers/style`",
        "clips": "600 + 300",
        "minutes": "1 + 1",
        "losses": "flow 0.005",
    }
    assert script.history(tmp_path, ["base"], recipe)["size"] == "pocket"


def test_what_was_not_measured_has_no_table(script: ModuleType) -> None:
    assert script.measured({}) == ""
    assert "| psnr | 0.912 | 0.85 to 0.95 |" in script.measured({"psnr": CELL})


def test_a_network_is_shipped_with_a_card_that_fits_it(script: ModuleType, tmp_path: Path) -> None:
    network = denoiser()
    sampler = Sampler(levels=(1.0, 0.5, 0.0), guidance=2.0)
    student = Student(
        network=network, sampler=sampler, tokenizer=captions.tokenizer_json(), card="# old\n"
    )
    save_student(student, tmp_path / "run" / "steps" / "model")
    about = {
        "seed": 7,
        "size": "tiny",
        "stages": "`steps`",
        "clips": "600",
        "minutes": "1",
        "losses": "flow 0.1",
        "limits": "None known.",
    }
    target = tmp_path / "shipped" / "student"
    words = ("Student", "A test.", "half", about, {"student": {"psnr": CELL}})
    script.ship(tmp_path / "run", "steps", target, *words)
    shipped = load_student(target)
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    assert f"{parameters:.2f} M parameters" in shipped.card
    assert "steps x passes a step: 2 x 2," in shipped.card
    assert "| psnr | 0.912 |" in shipped.card and "None known." in shipped.card
    assert "{" not in shipped.card
    for name, value in network.state_dict().items():
        stored = shipped.network.state_dict()[name].float()
        assert (stored - value.float()).abs().max() <= 1e-3 * value.float().abs().max() + 1e-6


def test_curated_clips_come_back_pixel_for_pixel(script: ModuleType, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 16, 16, 4), dtype=np.uint8)
    kept = tmp_path / "kept"
    kept.mkdir()
    about = {"captions": [["a"], ["b"]], "sources": ["style", "motion"], "scores": [{}, {"s": 1}]}
    facts = {key: json.dumps(value) for key, value in about.items()}
    tensors = {"frames": frames, "noise": np.array([5, 6])}
    save_file(tensors, kept / "clips-00000.safetensors", facts)
    (kept / "summary.json").write_text('{"kept": 2}')
    script.curated(kept, tmp_path / "out")
    with safe_open(tmp_path / "out" / "clips.safetensors", "np") as file:
        blob, ends = file.get_tensor("webp"), file.get_tensor("ends")
    for at, clip in enumerate(frames):
        start = int(ends[at - 1]) if at else 0
        with Image.open(BytesIO(blob[start : ends[at]].tobytes())) as image:
            for number, frame in enumerate(clip):
                image.seek(number)
                found = np.asarray(image.convert("RGBA"))
                drawn = frame[..., 3] > 0
                assert (found[drawn] == frame[drawn]).all()
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["summary"] == {"kept": 2}
    assert index["clips"][1] == {
        "caption": "b",
        "teacher": "motion",
        "noise": 6,
        "scores": {"s": 1},
    }
