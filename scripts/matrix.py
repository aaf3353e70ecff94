"""Every tiny pipeline x every target, each in a process of its own -> docs/matrix.md.

python scripts/matrix.py [--only sd,flux] [--targets onnx] [--timeout 900] [--again]

What was run is kept in out/matrix with a hash of every module of ours that took part, and is not
run again while they stay as they are, unless --again. A program is green where it passed parity on
every runtime that is here and answers for the file; an engine that only a GPU could run is green
where it was built and ONNX Runtime vouches for the file it was built from. All else has its reason.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE, KEPT = ROOT / "docs" / "matrix.md", ROOT / "out" / "matrix"
RUNTIMES = {
    "onnx": "ONNX Runtime, OpenVINO",
    "executorch": "ExecuTorch",
    "coreml": "our evaluator",
    "tensorrt": "built; its ONNX file by ONNX Runtime",
}
TARGETS = tuple(RUNTIMES)
PRECISION = {"onnx": "fp32", "executorch": "fp32", "coreml": "fp32", "tensorrt": "fp16"}
# Modules named after one target have no part in the others.
NAMED = {"coreml": "coreml mil", "executorch": "executorch xnnpack", "tensorrt": "tensorrt"}
VERSIONS = ROOT / "minuet" / "constraints.txt"
SETTLED = ("prompt", "image", "height", "width", "num_frames", "guidance_scale")
HEAD = """# What was exported, and what ran it

Tiny random pipelines of every class, in reduced size, made by `tests/pipelines.py`.
Every component that the pipeline calls, and its denoising as one program of two steps (`fused`).
`make matrix` writes this page.
"""

Cell = dict[str, str]  # program -> "" or why not
Note = dict[str, Any]  # a cell and the sources it was made with


def main() -> None:
    """Run what is missing, then write the page of all that is known."""
    sys.path[:0] = [str(ROOT)]
    from tests.pipelines import PIPELINES

    asked = _arguments(list(PIPELINES))
    if asked.cell:
        for line in told(*asked.cell, asked.done):
            print(json.dumps(line), flush=True)
        return
    for name in asked.only:
        for target in asked.targets:
            found = (None if asked.again else kept(name, target)) or _fresh(name, target, asked)
            print(f"{name:<12} {target:<10} {_mark(found)}", flush=True)
    known = {name: {target: kept(name, target) for target in TARGETS} for name in PIPELINES}
    PAGE.write_text(page(known), encoding="utf-8")


def told(name: str, target: str, done: Collection[str]) -> Iterator[Note]:
    """What a process says of one cell: its programs, each one's verdict, and its own sources."""
    makers = programs(name)
    yield {"programs": list(makers)}
    for program, make in makers.items():
        if program not in done:
            yield {"program": program, "why": verdict(make, target)}
    yield {"sources": sources(target)}


def programs(name: str) -> dict[str, Callable[[], Any]]:
    """A pipeline's components and its fused form by name, each to be made when it is wanted."""
    from minuet.export.sources.folder import read_folder
    from minuet.export.sources.fused import fused
    from minuet.export.sources.pipeline import load_pipeline
    from minuet.export.sources.record import Request, parts_of, recorded
    from tests.pipelines import CALLS, build

    call = CALLS[name]
    more = {k: v for k, v in call.items() if k not in (*SETTLED, "num_inference_steps")}
    request = Request(
        size=(call["height"], call["width"]),
        frames=call.get("num_frames"),
        guidance=call.get("guidance_scale"),
        more=more,
    )
    pipeline = load_pipeline(read_folder(build(name)))
    runs = recorded(pipeline, request)
    makers: dict[str, Callable[[], Any]] = {
        part: lambda part=part: parts_of(pipeline, runs, [part])[0]  # type: ignore[misc]
        for part in runs
    }
    return makers | {"fused": lambda: fused(pipeline, request)}


def verdict(make: Callable[[], Any], target: str) -> str:
    """Nothing where a program was written and is the same model, else why not."""
    from minuet.exporting import How, Job, made_of, piece_of
    from minuet.proof import Known, prove

    job = Job(target=target, precision=PRECISION[target])
    try:
        part = make()
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            program = part.program()
            made = made_of(piece_of(part, program, job, How()), home)
            artifact = replace(made, component=part.name)
            known = Known(part.name, program)
            told = (part.signature, part.cases)
            proofs = list(prove(home, artifact, *told, trusted=True, known=known))
            if target == "tensorrt":
                model = (Path(artifact.entry).parent / "model.onnx").as_posix()
                artifact = replace(artifact, target="onnx", entry=model)
                proofs += prove(home, artifact, *told, known=known)
    except Exception as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0][:400]
    for proof in proofs:
        if proof.failed:
            return f"{proof.runtime}: {proof.parity.reason}"
    if any(proof.parity.verdict == "pass" for proof in proofs):
        return ""
    return "; ".join(f"{proof.runtime} not run: {proof.parity.reason}" for proof in proofs)


def sources(target: str) -> dict[str, str]:
    """Path -> SHA-256 of every module of ours in this process that a target depends upon."""
    loaded = [module for name, module in sys.modules.items() if name != "__main__"]
    files = (getattr(module, "__file__", None) for module in loaded)
    paths = {Path(file).resolve() for file in files if file and Path(file).is_absolute()}
    ours = (path.relative_to(ROOT).as_posix() for path in paths if path.is_relative_to(ROOT))
    others = {word for key, row in NAMED.items() if key != target for word in row.split()}
    kept = (path for path in ours if not others & set(re.split(r"[/_.]", path)))
    return {path: _hash(path) for path in sorted({*kept, VERSIONS.relative_to(ROOT).as_posix()})}


def kept(name: str, target: str) -> Cell | None:
    """What was found with these very sources."""
    file = _note(name, target)
    note: Note = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    same = note and all(_hash(path) == known for path, known in note["sources"].items())
    return note["programs"] if same else None


def page(known: Mapping[str, Mapping[str, Cell | None]]) -> str:
    """The table, its share of green, and the reason of everything else."""
    cells = [cell for row in known.values() for cell in row.values() if cell]
    whys = [why for cell in cells for why in cell.values()]
    day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    every = sum(map(len, known.values()))
    share = (
        f"Commit {_commit()}, {day}: {len(cells)} of {every} cells were run; of their {len(whys)} "
        f"programs {whys.count('')} are green, in "
        f"{sum(not any(cell.values()) for cell in cells)} cells all of them."
    )
    titles = [f"{target} {PRECISION[target]}<br>({RUNTIMES[target]})" for target in TARGETS]
    table = [f"| pipeline | {' | '.join(titles)} |", f"|---|{'---|' * len(TARGETS)}"]
    for name, row in known.items():
        table.append(f"| {name} | {' | '.join(_mark(row[target]) for target in TARGETS)} |")
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, row in known.items():
        for target, cell in row.items():
            for program, why in (cell or {}).items():
                if why:
                    reasons.setdefault((target, why), []).append(f"{name} {program}")
    bad = [f"* {target}, {', '.join(whose)}: {why}" for (target, why), whose in reasons.items()]
    for target in TARGETS:
        if absent := [name for name, row in known.items() if not row[target]]:
            bad.append(f"* {target}, {', '.join(absent)}: not run yet; `make matrix` goes on.")
    return "\n".join(
        [HEAD, share, "", *table, "", "## What is not green, and why\n", *(bad or ["Nothing."]), ""]
    )


def _fresh(name: str, target: str, asked: Any) -> Cell:
    """Every program of a cell. One that ends the process is told by how it did."""
    found: Cell = {}
    while True:
        said, end = _process(name, target, found, asked.timeout)
        wanted = next((line["programs"] for line in said if "programs" in line), [])
        found |= {line["program"]: line["why"] for line in said if "program" in line}
        used = next((line["sources"] for line in said if "sources" in line), None)
        if used is not None:
            note = {"programs": {one: found[one] for one in wanted}, "sources": used}
            _note(name, target).parent.mkdir(parents=True, exist_ok=True)
            _note(name, target).write_text(json.dumps(note, indent=1), encoding="utf-8")
            return found
        left = [one for one in wanted if one not in found]
        if not left:
            return found | {"all": end}
        found[left[0]] = end


def _process(
    name: str, target: str, done: Collection[str], timeout: float
) -> tuple[list[Note], str]:
    """What a process said of a cell, and how it ended if not well."""
    command = [sys.executable, "-W", "ignore", __file__, "--cell", name, target]
    command += ["--done", ",".join(done)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            code = subprocess.run(
                command, stdout=out, stderr=err, timeout=timeout, env=environment, check=False
            ).returncode
            end = f"the process ended with code {code}"
            if code < 0:
                end = f"the process was ended by {signal.Signals(-code).name}"
        except subprocess.TimeoutExpired:
            end = f"not finished within {timeout:.0f} s"
        out.seek(0)
        err.seek(0)
        said = [json.loads(line) for line in out if line.startswith("{") and line.endswith("}\n")]
        last = err.read().strip().splitlines()[-1:]
    return said, f"{end}: {last[0][:300]}" if last else end


def _mark(found: Cell | None) -> str:
    if not found:
        return "not run"
    good = list(found.values()).count("")
    return f"{good}/{len(found)}" if good < len(found) else f"{good}/{len(found)} ✓"


def _note(name: str, target: str) -> Path:
    return KEPT / f"{name}-{target}-{PRECISION[target]}.json"


def _hash(path: str) -> str:
    file = ROOT / path
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _commit() -> str:
    def git(*words: str) -> str:
        run = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return run.stdout.strip()

    return git("rev-parse", "--short", "HEAD") + (" and changes" if git("diff", "HEAD") else "")


def _arguments(names: list[str]) -> Any:
    def words(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", type=words, default=names)
    parser.add_argument("--targets", type=words, default=list(TARGETS))
    parser.add_argument("--timeout", type=float, default=1800.0)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--cell", nargs=2, metavar=("PIPELINE", "TARGET"))
    parser.add_argument("--done", type=words, default=[], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
