"""One few-step pipeline, with its loop inside the program and with optimum's around it -> a table.

PYTHONPATH=. python scripts/peers_few_steps.py [--latents 8 16 32] [--steps 4] [--rounds 20]

A latent consistency model: its UNet is called once a step, then the autoencoder. Both begin with
the same embedded prompt and the same noise and end with the same picture; both run on one thread
of ONNX Runtime, in turns. What the loop around costs is the same for every network, so the gain
is large where the network is quick, as on an accelerator, and none where it takes seconds.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from minuet.export.sources.folder import read_folder
from minuet.export.sources.fused import fused
from minuet.export.sources.pipeline import load_pipeline
from minuet.export.sources.record import Request
from minuet.export.to_onnx import export_onnx
from tests import pipelines

Picture = np.ndarray[Any, Any]


def main() -> None:
    """Build, export, run in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--latents", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--widths", nargs="+", default=["8,16", "32,64,64"])
    args = parser.parse_args()
    print("| UNet | latents | minuet ms | optimum ms | ratio | pictures differ by |")
    print("|---" * 6 + "|")
    for widths in args.widths:
        for side in args.latents:
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as home:
                ran = row(Path(home), tuple(map(int, widths.split(","))), side, args)
                print(ran, flush=True)


def row(home: Path, widths: tuple[int, ...], side: int, args: argparse.Namespace) -> str:
    """One network at one size: medians, their ratio, and that both are the same pipeline."""
    parameters = build(home / "lcm", widths)
    size = 2 * side  # of pictures: the tiny autoencoder halves once
    runs = {
        "minuet": ours(home, size, args.steps),
        "optimum": theirs(home, size, args.steps),
    }
    samples: dict[str, list[float]] = {name: [] for name in runs}
    made = {}
    for _ in range(args.rounds + 2):
        for name, run in runs.items():
            started = time.perf_counter()
            made[name] = run()
            samples[name].append(1e3 * (time.perf_counter() - started))
    one, other = (statistics.median(samples[name][2:]) for name in runs)
    apart = np.abs(made["minuet"] - made["optimum"]).max()
    cells = (f"{parameters / 1e6:.1f} M", f"{side}x{side}", f"{one:.1f}", f"{other:.1f}")
    return f"| {' | '.join(cells)} | {other / one:.2f} | {apart:.1e} |"


def build(folder: Path, widths: tuple[int, ...]) -> int:
    """A latent consistency model of these widths; how many parameters its UNet has."""
    levels = len(widths) - 1
    unet = pipelines._unet(
        sample_size=32,
        block_out_channels=widths,
        layers_per_block=2,
        norm_num_groups=8,
        attention_head_dim=8,
        time_cond_proj_dim=pipelines.WIDTH,
        down_block_types=(*("CrossAttnDownBlock2D",) * levels, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * levels),
    )
    parts = pipelines._sd() | {"unet": unet, "scheduler": pipelines._scheduler("LCMScheduler")}
    pipelines._save(folder, "LatentConsistencyModelPipeline", parts)
    return sum(p.numel() for p in unet.parameters())


def ours(home: Path, size: int, steps: int) -> Callable[[], Picture]:
    """The fused program; it is given what its first golden case was."""
    import onnxruntime as ort

    part = fused(load_pipeline(read_folder(home / "lcm")), Request(size=(size, size), steps=steps))
    export_onnx(part.program(), home)
    given = {name: np.asarray(value) for name, value in part.cases[0].inputs.items()}
    for name, value in given.items():
        np.save(home / f"{name}.npy", value)
    path = str(home / "onnx-fp32" / "model.onnx")
    session = ort.InferenceSession(path, _one_thread(), providers=["CPUExecutionProvider"])
    return lambda: np.asarray(session.run(["images"], given)[0])


def theirs(home: Path, size: int, steps: int) -> Callable[[], Picture]:
    """optimum's own export and pipeline."""
    from diffusers.schedulers import scheduling_lcm
    from optimum.onnxruntime import ORTLatentConsistencyModelPipeline

    cli, task = str(Path(sys.executable).with_name("optimum-cli")), "text-to-image"
    command = [cli, "export", "onnx", "--model", str(home / "lcm"), "--library", "diffusers"]
    command += ["--task", task, str(home / "theirs")]
    subprocess.run(command, check=True, capture_output=True)
    pipeline = ORTLatentConsistencyModelPipeline.from_pretrained(
        home / "theirs", session_options=_one_thread(), provider="CPUExecutionProvider"
    )
    pipeline.set_progress_bar_config(disable=True)
    noises = [torch.from_numpy(np.load(p)) for p in sorted(home.glob("noise_*.npy"))]
    embeds = torch.from_numpy(np.load(home / "prompt_embeds.npy"))

    def run() -> Picture:
        left = iter(noises[1:])
        with mock.patch.object(scheduling_lcm, "randn_tensor", lambda *_, **__: next(left)):
            made = pipeline(
                prompt_embeds=embeds,
                latents=noises[0].clone(),
                height=size,
                width=size,
                num_inference_steps=steps,
                output_type="pt",
            )
        return np.asarray(made.images)

    return run


def _one_thread() -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return options


if __name__ == "__main__":
    main()
