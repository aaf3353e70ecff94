"""Students and teachers -> the quality table of the README, in Markdown and JSON.

python scripts/quality.py [NAME=FOLDER ...] [--clips 256] [-o quality.json] [--worst worst.webp]

Without names: the shipped student and teachers. A second table has the first network motion by
motion, and --worst draws each motion's clip that is furthest from the truth.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from minuet import media, shipped
from minuet.benchmarks.judge import load_judge
from minuet.benchmarks.quality import METRICS, Frames, Row, summarise
from minuet.benchmarks.stats import Interval
from minuet.contracts.files import write_json
from minuet.evaluation import (
    Asked,
    animated,
    by_motion,
    ceiling,
    gigaflops,
    held_out,
    plain,
    rows_of,
    told_the_truth,
)
from minuet.models.student import load_student

WORST_SIDE = 144  # px of a clip on the sheet of failures


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", help="NAME=FOLDER")
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("-o", "--out", type=Path, default=Path("quality.json"))
    parser.add_argument("--worst", type=Path, help="an animated sheet: .webp, .gif, .png, .mp4")
    parser.add_argument("--no-calibration", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    asked = list(held_out(args.clips))
    judge = load_judge(shipped.folder() / "judge").judge()
    table: dict[str, dict[str, Interval]] = {}
    costs: dict[str, float] = {}
    motions: dict[str, dict[str, dict[str, Interval]]] = {}
    for name, folder in networks(args.networks).items():
        student = load_student(folder)
        clips = animated(student, asked)
        rows = rows_of(clips, asked, judge)
        if args.worst and not table:
            media.write_animation(args.worst, worst(clips, rows, asked))
        table[name], motions[name] = summarise(rows), by_motion(rows, asked)
        costs[name] = gigaflops(student)
        print(f"{name}: {costs[name]:.1f} GFLOP a clip, {row(table[name])}", flush=True)
    if not args.no_calibration:
        table["composed of the truth"] = summarise(rows_of(told_the_truth(asked), asked, judge))
        table |= ceiling(asked, judge)
    print(markdown(table, costs))
    first, rows_by_motion = next(iter(motions.items()))
    print(f"\n{first}, motion by motion:\n\n{markdown(rows_by_motion, {})}")
    value = {"clips": args.clips, "gflop_a_clip": costs, "table": plain(table)}
    write_json(args.out, value | {"by_motion": {name: plain(m) for name, m in motions.items()}})


def worst(clips: Sequence[Frames], rows: Sequence[Row], asked: Sequence[Asked]) -> Frames:
    """An animated sheet of each motion's clip with the largest warp error, the truth beside it."""
    order: dict[str, int] = {}  # motion -> its worst so far
    for at, one in enumerate(asked):
        before = order.setdefault(one.spec.motion, at)
        if rows[at]["warp"][0] > rows[before]["warp"][0]:
            order[one.spec.motion] = at
    truths = [asked[at].subject.frames_THWC for at in order.values()]
    made = [clips[at] for at in order.values()]
    sheets = [
        media.sheet(
            [[a[frame], b[frame]] for a, b in zip(truths, made, strict=True)],
            list(order),
            columns=("truth", "made"),
            side=WORST_SIDE,
        )
        for frame in range(len(made[0]))
    ]
    return np.stack(sheets)


def networks(names: list[str]) -> dict[str, Path]:
    """Names and folders, by default the shipped ones."""
    if names:
        return {name: Path(folder) for name, _, folder in (row.partition("=") for row in names)}
    root = shipped.folder()
    found = {"student": root / "student"}
    return found | {f"teacher {p.name}": p for p in sorted((root / "teachers").iterdir())}


def row(metrics: dict[str, Interval]) -> str:
    """One network's metrics in a line."""
    return ", ".join(f"{name} {interval.value:.3g}" for name, interval in metrics.items())


def markdown(table: dict[str, dict[str, Interval]], costs: dict[str, float]) -> str:
    """The table, every value with half its 95 % interval."""
    lines = ["| clips | GFLOP | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 2) + "|"]
    for name, metrics in table.items():
        cells = [cell(metrics.get(metric)) for metric in METRICS]
        cost = f"{costs[name]:.1f}" if name in costs else ""
        lines.append(f"| {name} | {cost} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(interval: Interval | None) -> str:
    """value ± half the interval."""
    if interval is None:
        return ""
    return f"{interval.value:.3g} ± {(interval.high - interval.low) / 2:.2g}"


if __name__ == "__main__":
    main()
