"""A denoiser of random weights in float and in int8 -> times, and shares of what the cores can do.

python scripts/quantized.py [phone-60m] [--to onnx,executorch] [--size 128] [-o quantized.json]

Nothing is kept in float, for random weights have nothing to lose. "of peak" is the network's
multiply-adds over the time of the whole program, composition included, as a share of the largest
rate that a plain product of matrices reached on the same threads: PyTorch's float32 and int8.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from minuet.commands.common import Out
from minuet.contracts.files import read_json, write_json
from minuet.evaluation import gigaflops
from minuet.models.config import SIZES
from minuet.models.denoiser import Denoiser
from minuet.models.student import Sampler, Student, load_student, save_student
from minuet.quantize.calibrate import Method
from minuet.quantizing import find
from minuet.sources import settled
from minuet.stickers import captions
from minuet.workpiece import Order

SIDE, ROUNDS = 2048, 8  # of the matrices whose product tells the peak


def main() -> None:
    """Draw, quantize, weigh, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="?", default="phone-60m", choices=SIZES)
    parser.add_argument("--to", default="onnx,executorch")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("-o", "--out", type=Path, default=Path("quantized.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder, out = Path(home) / "student", Path(home) / "q"
        drawn(args.network, folder)
        rows = weighed(folder, out, args.to.split(","), args.size)
        gflop = gigaflops(load_student(folder))
    peaks = {"float": peak(torch.float32), "int8": peak(torch.int8)}
    value = {"network": args.network, "gflop": gflop, "peak_gflop_s": peaks, "weighed": rows}
    write_json(args.out, value)
    print(table(rows, gflop, peaks))


def drawn(network: str, folder: Path) -> None:
    """A student of random weights."""
    torch.manual_seed(0)
    made = Student(
        network=settled(Denoiser(SIZES[network])),
        sampler=Sampler(levels=(1.0, 0.0)),
        tokenizer=captions.tokenizer_json(),
        card=f"# {network}\n\nRandom weights.\n",
    )
    save_student(made, folder)


def weighed(folder: Path, out: Path, targets: list[str], size: int) -> list[dict[str, Any]]:
    """All layers in int8, beside float, on each runtime."""
    from minuet.commands.quantize import write

    order = Order(
        student=folder,
        out=out,
        scheme="int8",
        clips=4,
        method=Method(),
        keep_float=(),
        floor_db=-99.0,
    )
    say = Out()
    write(order, find(order, say), (tuple(targets), size, True), say)
    rows: list[dict[str, Any]] = read_json(out / "weighed.json")["weighed"]
    return rows


def peak(dtype: torch.dtype) -> float:
    """Billions of multiplies and adds a second of one large product."""
    if dtype == torch.int8:
        one = torch.randint(-128, 127, (SIDE, SIDE), dtype=dtype)
        multiply: Callable[[], Any] = lambda: torch._int_mm(one, one)  # noqa: E731
    else:
        two = torch.randn(SIDE, SIDE, dtype=dtype)
        multiply = lambda: two @ two  # noqa: E731
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        multiply()
        seconds.append(time.perf_counter() - started)
    return 2 * SIDE**3 / statistics.median(seconds[1:]) / 1e9


def table(rows: list[dict[str, Any]], gflop: float, peaks: dict[str, float]) -> str:
    """Markdown."""
    lines = [
        "| runtime | float ms | int8 ms | ratio | float of peak | int8 of peak | bytes | dB |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        if row["ms"] is None:
            lines.append(f"| {row['runtime']} | not run: {row['reason']} |" + " |" * 6)
            continue
        shares = [
            f"{100 * gflop / ms * 1e3 / peaks[kind]:.0f} %"
            for kind, ms in (("float", row["parent_ms"]), ("int8", row["ms"]))
        ]
        low, high = row["ratio"][1:]
        cells = [row["runtime"], f"{row['parent_ms']:.0f}", f"{row['ms']:.0f}"]
        cells += [f"{row['ratio'][0]:.2f} ({low:.2f} to {high:.2f})", *shares]
        cells += [f"{row['bytes'] / row['parent_bytes']:.3f}", f"{row['db']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    told = ", ".join(f"{name} {rate:.0f}" for name, rate in peaks.items())
    return "\n".join([*lines, f"\n{gflop:.1f} GFLOP a clip; GFLOP/s of a product: {told}."])


if __name__ == "__main__":
    main()
