"""The same pipeline, exported by minuet and by optimum in turns -> a table of both.

PYTHONPATH=. python scripts/peers_optimum.py [--rounds 3] [--widths 96,192,384,384] [-o OUT.json]

Each export is a process of its own, from start to end. Both write the same folder: UNet, both
halves of the autoencoder, text encoder. "beyond" is peak memory less the weights. Then the two
UNets run in ONNX Runtime, in turns, on the same numbers.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from minuet.contracts.files import write_json
from tests import pipelines

MIB = 1 << 20
OURS = "import sys, pathlib as p; from minuet.export.optimum_layout import write_optimum as w; "
OURS += "w(p.Path(sys.argv[1]), p.Path(sys.argv[2]))"


def main() -> None:
    """Export in turns, run in turns, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--widths", default="96,192,384,384", help="channels of the UNet's levels")
    parser.add_argument("-o", "--out", type=Path, default=Path("peers_optimum.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as home:
        source = Path(home) / "sd"
        weights = build(source, tuple(map(int, args.widths.split(","))))
        rows: dict[str, list[dict[str, float]]] = {"minuet": [], "optimum": []}
        for _ in range(args.rounds):
            for name in rows:
                rows[name].append(exported(name, source, Path(home) / name, weights))
        speed = raced({name: Path(home) / name / "unet/model.onnx" for name in rows})
    value = {"weights_MiB": weights / MIB, "load": os.getloadavg(), "exports": rows, "runs": speed}
    write_json(args.out, value)
    print(table(rows, speed))


def build(folder: Path, widths: tuple[int, ...]) -> int:
    """A Stable Diffusion of which only the UNet has size; the bytes of that."""
    unet = pipelines._unet(
        sample_size=32,
        block_out_channels=widths,
        layers_per_block=2,
        norm_num_groups=32,
        attention_head_dim=8,
        down_block_types=(*("CrossAttnDownBlock2D",) * (len(widths) - 1), "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * (len(widths) - 1)),
    )
    parts = pipelines._sd() | {"unet": unet}
    parts["scheduler"] = pipelines._scheduler("PNDMScheduler", skip_prk_steps=True)
    pipelines._save(folder, "StableDiffusionPipeline", parts)
    return sum(p.numel() * p.element_size() for p in unet.parameters())


def exported(name: str, source: Path, out: Path, weights: int) -> dict[str, float]:
    """Seconds, processor seconds and memory of one export in a process of its own."""
    cli = str(Path(sys.executable).with_name("optimum-cli"))
    task = ("--task", "text-to-image", "--library", "diffusers")
    command = {
        "minuet": [sys.executable, "-W", "ignore", "-c", OURS, str(source), str(out)],
        "optimum": [cli, "export", "onnx", "--model", str(source), *task, str(out)],
    }[name]
    started = time.perf_counter()
    silent = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, silent, 1), (os.POSIX_SPAWN_DUP2, silent, 2)]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    _, status, used = os.wait4(pid, 0)
    os.close(silent)
    if status:
        sys.exit(f"{name}: the export failed (status {status}).")
    peak = used.ru_maxrss / 1024
    return {
        "wall_s": round(time.perf_counter() - started, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_MiB": round(peak),
        "beyond_MiB": round(peak - weights / MIB),
        "file_MiB": round(sum(f.stat().st_size for f in out.glob("unet/model.onnx*")) / MIB, 1),
    }


def raced(files: dict[str, Path], rounds: int = 12) -> dict[str, Any]:
    """Processor milliseconds of each file, in turns on one thread, and how far they are apart."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {
        name: ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for name, path in files.items()
    }
    rng = np.random.default_rng(0)
    given = {
        "sample": rng.standard_normal((2, 4, 32, 32), np.float32),
        "encoder_hidden_states": rng.standard_normal((2, 77, pipelines.WIDTH), np.float32),
    }
    samples: dict[str, list[float]] = {name: [] for name in files}
    made = {}
    for _ in range(rounds + 2):
        for name, session in sessions.items():
            kind = next(row.type for row in session.get_inputs() if row.name == "timestep")
            step = np.array(500, np.int64 if "int64" in kind else np.float32)
            started = time.process_time()
            made[name] = session.run(["out_sample"], given | {"timestep": step})[0]
            samples[name].append(1e3 * (time.process_time() - started))
    one, other = made.values()
    rows = {name: [round(ms, 1) for ms in row[2:]] for name, row in samples.items()}
    return {"cpu_ms": rows, "apart": float(np.abs(one - other).max())}


def table(rows: dict[str, list[dict[str, float]]], speed: dict[str, Any]) -> str:
    """Markdown; medians."""
    columns = list(rows["minuet"][0])
    lines = [f"| | {' | '.join(columns)} | run cpu_ms |", "|---" * (len(columns) + 2) + "|"]
    for name, samples in rows.items():
        cells = [f"{statistics.median(row[c] for row in samples):g}" for c in columns]
        cells.append(f"{statistics.median(speed['cpu_ms'][name]):.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, f"\nThe two differ by {speed['apart']:.1e} at most."])


if __name__ == "__main__":
    main()
