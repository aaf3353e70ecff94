"""Every tiny pipeline x every target, each in a process of its own -> docs/matrix.md.

python scripts/matrix.py [--only sd,flux] [--targets onnx] [--timeout 900] [--again]

What was run for this commit is kept in out/matrix and not run again, unless --again. A cell is
green where every component passed parity on every runtime that is here and vouches for the file;
an engine that only a GPU could run is green where it was built. All else is said with its reason.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE, KEPT = ROOT / "docs" / "matrix.md", ROOT / "out" / "matrix"
TARGETS = ("onnx", "executorch", "coreml", "tensorrt")
RUNTIMES = {"onnx": "ort", "executorch": "executorch", "coreml": "mil", "tensorrt": "built"}
PRECISION = {"onnx": "fp32", "executorch": "fp32", "coreml": "fp32", "tensorrt": "fp16"}
SETTLED = ("prompt", "image", "height", "width", "num_frames", "guidance_scale")
HEAD = """# What was exported, and what ran it

Tiny random pipelines of every class, in reduced size, made by `tests/pipelines.py`.
Every component that the pipeline calls, and its denoising as one program of two steps (`fused`).
`make matrix` writes this page.
"""

Cell = dict[str, str]  # component -> "" or why not


def main() -> None:
    """Run what is missing, then write the page."""
    sys.path[:0] = [str(ROOT)]
    from tests.pipelines import PIPELINES

    asked = _arguments(list(PIPELINES))
    if asked.cell:
        print(json.dumps(cell(*asked.cell)))
        return
    commit = _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain") else "")
    rows: dict[str, dict[str, Cell]] = {}
    for name in asked.only:
        for target in asked.targets:
            found = _kept(name, target, commit, asked)
            rows.setdefault(name, {})[target] = found
            print(f"{name:<12} {target:<10} {_mark(found)}", flush=True)
    PAGE.write_text(page(rows, asked.targets, commit), encoding="utf-8")


def cell(name: str, target: str) -> Cell:
    """Every program of one pipeline for one target, in this process."""
    from minuet.export.sources.folder import read_folder
    from minuet.export.sources.fused import fused
    from minuet.export.sources.pipeline import load_pipeline
    from minuet.export.sources.record import Request, parts_of, recorded
    from tests.pipelines import CALLS, build

    call = dict(CALLS[name])
    more = {k: v for k, v in call.items() if k not in (*SETTLED, "num_inference_steps")}
    request = Request(
        size=(call["height"], call["width"]),
        frames=call.get("num_frames"),
        guidance=call.get("guidance_scale"),
        more=more,
    )
    pipeline = load_pipeline(read_folder(build(name)))
    runs = recorded(pipeline, request)
    makers: dict[str, Any] = {
        part: lambda part=part: parts_of(pipeline, runs, [part])[0] for part in runs
    }
    makers["fused"] = lambda: fused(pipeline, request)
    return {part: _verdict(make, target) for part, make in makers.items()}


def _verdict(make: Any, target: str) -> str:
    """Nothing where a program was written and is the same model, else why not."""
    from minuet.commands.export import How, Job, _options, _written
    from minuet.proof import prove

    job = Job(target=target, precision=PRECISION[target])
    try:
        part = make()
        with tempfile.TemporaryDirectory() as home:
            artifact = _written(part.program(), job, Path(home), _options(job, How()))
            proofs = list(prove(Path(home), artifact, part.signature, part.cases, trusted=True))
    except Exception as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0][:400]
    for proof in proofs:
        if proof.failed:
            return f"{proof.runtime}: {proof.parity.reason}"
    passed = [proof for proof in proofs if proof.parity.verdict == "pass"]
    if target != "tensorrt" and not passed:
        return "; ".join(f"{proof.runtime} not run: {proof.parity.reason}" for proof in proofs)
    return ""


def page(rows: dict[str, dict[str, Cell]], targets: list[str], commit: str) -> str:
    """The table, its share of green, and the reason of everything else."""
    cells = [one for row in rows.values() for found in row.values() for one in found.values()]
    green = sum(not one for one in cells)
    day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    told = f"Commit {commit}, {day}: {green} of {len(cells)} programs green."
    titles = [f"{target} ({RUNTIMES[target]}, {PRECISION[target]})" for target in targets]
    table = [f"| pipeline | {' | '.join(titles)} |", f"|---|{'---|' * len(targets)}"]
    reasons = []
    for name, row in rows.items():
        table.append(f"| {name} | {' | '.join(_mark(row[target]) for target in targets)} |")
        for target, found in row.items():
            bad = {part: why for part, why in found.items() if why}
            reasons += [f"* {name}, {part}, {target}: {why}" for part, why in bad.items()]
    others = ["## What is not green, and why\n", *(reasons or ["Nothing."])]
    return "\n".join([HEAD, told, "", *table, "", *others, ""])


def _mark(found: Cell) -> str:
    good = sum(not why for why in found.values())
    return f"{good}/{len(found)}" if good < len(found) else f"{good}/{len(found)} ✓"


def _kept(name: str, target: str, commit: str, asked: Any) -> Cell:
    note = KEPT / commit / f"{name}-{target}.json"
    if note.is_file() and not asked.again and not commit.endswith("+"):
        known: Cell = json.loads(note.read_text(encoding="utf-8"))
        return known
    found = _fresh(name, target, asked.timeout)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def _fresh(name: str, target: str, timeout: float) -> Cell:
    command = [sys.executable, "-W", "ignore", __file__, "--cell", name, target]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=environment, check=False
        )
        found: Cell = json.loads(done.stdout.strip().splitlines()[-1])
        return found
    except subprocess.TimeoutExpired:
        return {"all": f"not finished within {timeout:.0f} s"}
    except (IndexError, ValueError):
        said = done.stderr.strip().splitlines()[-1:] or ["nothing was said"]
        return {"all": f"exit code {done.returncode}: {said[0][:300]}"}


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _arguments(names: list[str]) -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=names)
    parser.add_argument("--targets", type=lambda text: text.split(","), default=list(TARGETS))
    parser.add_argument("--timeout", type=float, default=1800.0)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--cell", nargs=2, metavar=("PIPELINE", "TARGET"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
