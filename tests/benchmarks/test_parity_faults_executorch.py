"""Faults planted in real ExecuTorch files are each caught; the files themselves pass.

Weights lie in a file as XNNPACK reads them, and are overwritten there. The graph does not lie open,
so its faults are exported: one file makes every faulty answer, and each is held against the sound
program.
"""

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minuet.benchmarks.parity import difference, furthest, judge
from minuet.benchmarks.parity_graph import depth, outputs
from minuet.contracts.artifact import Artifact
from minuet.contracts.tensors import Array, Arrays, Signature
from minuet.export.capture import Program, capture
from minuet.export.to_executorch import export_executorch
from minuet.quantize.apply import quantize_program
from minuet.quantize.calibrate import calibrate
from minuet.runtimes.executorch import ExecutorchRuntime
from tests.benchmarks.fewstep import (
    GUIDANCE,
    SCALE,
    TIMES,
    Fewstep,
    example,
    fewstep,
    signature,
    time_bias,
)
from tests.benchmarks.judged import proven
from tests.export.coreml import Said, captured
from tests.quantize.tiny import clips, recipe

pytest.importorskip("executorch")

Made = tuple[Path, Artifact]


@pytest.fixture(scope="module")
def program() -> Program:
    return capture(fewstep(), dict(example()), signature())


@pytest.fixture(scope="module")
def made(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("files")
    return folder, export_executorch(program, folder)


def judged(program: Program, artifact: Artifact, folder: Path) -> str:
    return proven(program, artifact, folder, example(seed=3), "executorch").verdict


def overwritten(data: bytes, right: Array, wrong: Array) -> bytes:
    """One constant of a file replaced, which must be there and only once."""
    before, after = (np.ascontiguousarray(one, np.float32).tobytes() for one in (right, wrong))
    assert data.count(before) == 1 and len(before) == len(after)
    return data.replace(before, after)


def kernel(module: Any) -> Array:
    """As XNNPACK has it: output channels, rows, columns, input channels."""
    turned: Array = module.weight.detach().numpy().transpose(0, 2, 3, 1)
    return turned


def transposed_kernel(data: bytes) -> bytes:
    right = kernel(fewstep().denoiser.middle)
    return overwritten(data, right, right.transpose(0, 2, 1, 3))


def stale_weights(data: bytes) -> bytes:
    return overwritten(data, *(kernel(fewstep(seed).denoiser.head) for seed in (0, 1)))


def off_by_one_timestep(data: bytes) -> bytes:
    return overwritten(data, *(time_bias(fewstep(), t) for t in (TIMES[0], TIMES[0] - 1)))


def nan_in_a_weight(data: bytes) -> bytes:
    right = kernel(fewstep().decoder)
    wrong = right.copy()
    wrong[3, 1, 1, 3] = np.nan
    return overwritten(data, right, wrong)


FAULTS = [transposed_kernel, stale_weights, off_by_one_timestep, nan_in_a_weight]


def test_the_file_as_exported_passes(program: Program, made: Made) -> None:
    assert judged(program, made[1], made[0]) == "pass"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_in_the_files_bytes_is_caught(
    program: Program, made: Made, tmp_path: Path, fault: Callable[[bytes], bytes]
) -> None:
    home, artifact = made
    path = tmp_path / artifact.entry
    path.parent.mkdir(parents=True)
    path.write_bytes(fault((home / artifact.entry).read_bytes()))
    assert judged(program, artifact, tmp_path) == "fail"


class Wrong(nn.Module):
    """noise, words -> the sound latents and frames, then those of every faulty graph."""

    def __init__(self, sound: Fewstep) -> None:
        super().__init__()
        self.sound = sound

    def forward(self, noise: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        x, frames = self.sound(noise, words)
        undivided = self.as_bytes(torch.sigmoid(self.sound.decoder(x)))
        opaque = torch.cat([frames[:, :3], torch.full_like(frames[:, 3:], 255)], 1)
        blue_first = torch.cat([frames[:, i : i + 1] for i in (2, 1, 0, 3)], 1)
        turned = self.turned(noise, words)
        return x, frames, *turned, x, undivided, x, opaque, x, blue_first

    def turned(self, noise: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """told + g (untold - told)."""
        x = noise
        for t in TIMES:
            told = self.sound.denoiser(x, words, torch.tensor(t))
            untold = self.sound.denoiser(x, torch.zeros_like(words), torch.tensor(t))
            x = x - (told + GUIDANCE * (untold - told)) / len(TIMES)
        return x, self.as_bytes(torch.sigmoid(self.sound.decoder(x / SCALE)))

    def as_bytes(self, seen: Tensor) -> Tensor:
        return (seen * 255 + 0.5).to(torch.uint8)


GRAPHS = {
    **{"sound": "pass", "wrong_guidance_order": "fail", "missing_normalisation": "fail"},
    **{"dropped_alpha": "fail", "wrong_channel_order": "fail"},
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Arrays]:
    """What one file says for each graph."""
    sound = signature()
    rows = [replace(one, name=f"{graph}.{one.name}") for graph in GRAPHS for one in sound.outputs]
    every = Signature(inputs=sound.inputs, outputs=tuple(rows))
    folder = tmp_path_factory.mktemp("graphs")
    artifact = export_executorch(capture(Wrong(fewstep()), dict(example()), every), folder)
    with ExecutorchRuntime().open(folder, artifact, every, threads=1) as session:
        found = session.run(example(seed=3))
    names = [one.name for one in sound.outputs]
    return {graph: {name: found[f"{graph}.{name}"] for name in names} for graph in GRAPHS}


@pytest.mark.parametrize(("graph", "verdict"), GRAPHS.items())
def test_a_fault_in_the_graph_is_caught(
    program: Program, made: Made, answers: dict[str, Arrays], graph: str, verdict: str
) -> None:
    given = [torch.from_numpy(one) for one in example(seed=3).values()]
    expected = zip(("latents", "frames"), outputs(program.exported, given), strict=True)
    deep = depth(program.exported)
    rows = [
        judge(made[1], "executorch", "", difference(wanted, answers[graph][name]), depth=deep)
        for name, wanted in expected
    ]
    assert furthest(rows).verdict == verdict


def test_int8_passes_until_two_scales_are_swapped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    convs = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)
    module = Said(nn.Sequential(*convs).eval().requires_grad_(False))
    sound = captured(module, torch.from_numpy(next(clips(1))["image"]))
    asked = replace(recipe(), layers={"function.0": "int8", "function.1": "int8"})
    ranges = calibrate(sound.exported.module(), ({"in_0": one["image"]} for one in clips(4)))
    int8 = quantize_program(sound.exported, sound.inputs, asked, ranges, "executorch")
    artifact = export_executorch(replace(sound, exported=int8), tmp_path, "int8")
    given = {"in_0": next(clips(1, seed=1))["image"]}
    assert proven(sound, artifact, tmp_path, given, "executorch").verdict == "pass"

    nodes = (node for node in int8.graph.nodes if "quantize_per_tensor" in str(node.target))
    low, *_, high = sorted({float(node.args[1]) for node in nodes})
    path = tmp_path / artifact.entry
    path.write_bytes(swapped(path.read_bytes(), *(struct.pack("<f", one) for one in (low, high))))
    assert proven(sound, artifact, tmp_path, given, "executorch").verdict == "fail"


def swapped(data: bytes, one: bytes, other: bytes) -> bytes:
    """Both are there; each becomes the other, wherever it is."""
    assert one in data and other in data
    return other.join(part.replace(other, one) for part in data.split(one))
