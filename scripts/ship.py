"""A finished run -> shipped/: teachers, student, curated set and default bundle, with their cards.

python scripts/ship.py RUN [--quality quality.json]

Teachers are stored in int8 (a scale a row), the student in half precision, the curated clips as
lossless WebP inside one safetensors file.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from minuet import media, shipped
from minuet.benchmarks.machine import cpu_name
from minuet.contracts.files import read_json, write_bytes, write_json
from minuet.evaluation import gigaflops
from minuet.models.student import Student, load_student, save_student
from minuet.stickers.captions import VOCABULARY_SIZE

STRENGTHS = {
    "motion": "large, lively movement: fed big amplitudes, told to mind the flow",
    "style": "the look of stickers the world never drew: fed random things and other colours",
    "caption": "hands, things held and worn, words such as gently and left",
}
CARD = """# {title}

{what}

| | |
|---|---|
| family | sticker-denoiser, size `{size}`, {parameters:.2f} M parameters |
| sampler | steps x passes a step: {steps} x {passes}, {gflop:.1f} GFLOP a clip |
| trained by | `minuet distill default`, stages {stages}, seed {seed} |
| clips seen | {clips} |
| time | {minutes} minutes on one core ({cpu}), bfloat16 |
| last losses | {losses} |
| stored as | {storage} |

{figures}
Data: the embedded sticker world of this repository alone; no picture or caption from elsewhere.
Licence: Apache-2.0.

Limits: eight frames; twelve motions; captions of its own {meanings} meanings; flat art on
transparency. {limits}
"""


def main() -> None:
    """Copy, pack, describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--quality", type=Path)
    parser.add_argument("--limits", default="")
    args = parser.parse_args()
    root, recipe = shipped.folder(), read_json(args.run / "recipe.json")
    figures = read_json(args.quality)["table"] if args.quality else {}
    for name, what in STRENGTHS.items():
        stage = f"teachers/{name}"
        about = history(args.run, ["base", stage], recipe) | {"limits": args.limits}
        what = f"A teacher with a taste: {what}. It continues from the stage `base`."
        ship(args.run, stage, root / stage, f"Teacher: {name}", what, "int8", about, figures)
    what = (
        "The default student: one step, guidance folded in. It continues from the stage `student`."
    )
    stages = [*(f"drafts/{name}" for name in recipe["drafts"]), "student", "steps"]
    about = history(args.run, stages, recipe) | {"limits": args.limits}
    ship(args.run, "steps", root / "student", "Student", what, "half", about, figures)
    curated(args.run / "kept", root / "curated")


def ship(
    run: Path,
    stage: str,
    target: Path,
    title: str,
    what: str,
    storage: str,
    about: Mapping[str, Any],
    figures: Mapping[str, Any],
) -> None:
    """One network with its card."""
    student = load_student(run / stage / "model")
    text = card(student, title=title, what=what, storage=storage, **about)
    row = figures.get("student" if stage == "steps" else f"teacher {target.name}", {})
    text = text.replace("{figures}", measured(row))
    save_student(replace(student, card=text), target, storage)


def card(student: Student, **about: Any) -> str:
    """The card's text, figures left open."""
    sampler = student.sampler
    return CARD.format(
        parameters=sum(p.numel() for p in student.network.parameters()) / 1e6,
        steps=sampler.steps,
        passes=sampler.evaluations // sampler.steps,
        gflop=gigaflops(student),
        figures="{figures}",
        cpu=cpu_name(),
        meanings=VOCABULARY_SIZE - 2,
        **about,
    )


def history(run: Path, stages: list[str], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the stages' logs say of a network's training, from its first stage to its last."""
    rows = {stage: facts(run / stage / "log.jsonl") for stage in stages}
    name = stages[-1].partition("/")[2]
    return {
        "seed": recipe["seed"],
        "size": recipe["teachers"][name]["size"] if name else recipe["student"]["size"],
        "stages": " then ".join(f"`{stage}`" for stage in stages),
        "clips": " + ".join(str(row["clips"]) for row in rows.values()),
        "minutes": " + ".join(f"{row['minutes']:.0f}" for row in rows.values()),
        "losses": rows[stages[-1]]["losses"],
    }


def facts(log: Path) -> dict[str, Any]:
    """Clips, minutes and last losses of one stage; study and rehearsal are not in its log."""
    lines = log.read_text(encoding="utf-8").splitlines()
    rows = {row["step"]: row for row in map(json.loads, lines)}  # a resumed step counts once
    steps = sorted(rows)
    seconds = sum(
        (rows[step]["clips"] - rows.get(before, {"clips": 0})["clips"])
        / rows[step]["clips_per_second"]
        for before, step in zip([0, *steps[:-1]], steps, strict=True)
    )
    last = rows[steps[-1]]
    losses = {name: value for name, value in last["losses"].items() if name != "loss"}
    text = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
    return {"clips": last["clips"], "minutes": seconds / 60, "losses": text}


def measured(row: Mapping[str, Any]) -> str:
    """The quality row as a small table; empty where it was not measured."""
    if not row:
        return ""
    lines = ["Quality on held-out stickers (docs/quality.md says how; 95 % intervals):", ""]
    lines += ["| metric | value | interval |", "|---|---|---|"]
    lines += [
        f"| {name} | {cell['value']:.3g} | {cell['low']:.3g} to {cell['high']:.3g} |"
        for name, cell in row.items()
    ]
    return "\n".join(lines) + "\n"


def curated(kept: Path, target: Path) -> None:
    """The kept clips as lossless WebP with caption, teacher, noise number and scores."""
    path = next(iter(sorted(kept.glob("clips-*.safetensors"))))
    with safe_open(path, "np") as file:
        frames, numbers = file.get_tensor("frames"), file.get_tensor("noise")
        about = {key: json.loads(file.metadata()[key]) for key in ("captions", "sources", "scores")}
    blobs = [
        np.frombuffer(media.webp(clip, lossless=True, exact=True), np.uint8) for clip in frames
    ]
    ends = np.cumsum([len(blob) for blob in blobs])
    write_bytes(target / "clips.safetensors", save({"webp": np.concatenate(blobs), "ends": ends}))
    rows = [
        {"caption": captions[0], "teacher": teacher, "noise": int(number), "scores": scores}
        for captions, teacher, number, scores in zip(
            about["captions"], about["sources"], numbers, about["scores"], strict=True
        )
    ]
    write_json(target / "index.json", {"clips": rows, "summary": read_json(kept / "summary.json")})


if __name__ == "__main__":
    main()
