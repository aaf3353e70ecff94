"""Does a student of several teachers beat the student of each? -> a table with paired intervals.

python scripts/ensemble.py RUN [--recipe ensemble] [--clips 192] [-o ensemble.json]

Teachers are trained (or taken), all animate the same stickers, and the judge keeps the best of all
of them, and of each alone. One student learns from each of these sets, from the same start, for as
long, and answers in 1, 2, 4 and 8 steps. What is done is kept in RUN, and not done again.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minuet import shipped
from minuet.benchmarks.judge import load_judge
from minuet.benchmarks.quality import Row, combined, summarise
from minuet.benchmarks.stats import Interval, mean_interval
from minuet.casting import Casting, summary
from minuet.checks import check_recipe
from minuet.commands.distill import judge
from minuet.contracts.files import read_json, write_json
from minuet.distill.curate import Verdict, best, judged, scored
from minuet.distill.ensemble import Candidate
from minuet.distill.path import levels
from minuet.distill.store import shard_path, write_shard
from minuet.evaluation import Asked, animated, held_out, plain, rows_of
from minuet.finishing import Finish
from minuet.models.student import Student, load_student
from minuet.pipeline import Pipeline
from minuet.presets import read_recipe

STEPS = (1, 2, 4, 8)
ALL = "ensemble"


def main() -> None:
    """Train, curate, teach, measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--recipe", default="ensemble")
    parser.add_argument("--clips", type=int, default=192, help="held-out stickers")
    parser.add_argument("-o", "--out", type=Path, default=Path("ensemble.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = Pipeline(read_recipe(args.recipe, check_recipe), args.run, judge(), tell)
    students = taught(pipeline)
    asked = list(held_out(args.clips))
    rows = {name: measured(folder, asked) for name, folder in students.items()}
    print(markdown(rows))
    write_json(args.out, {"clips": args.clips, "kept": kept_by(args.run), "table": figures(rows)})


def tell(stage: str, done: int, total: int, note: str) -> None:
    """A line now and then."""
    if done == total or done % max(1, total // 10) == 0:
        print(f"{stage}: {done} of {total} {note}", flush=True)


def taught(pipeline: Pipeline) -> dict[str, Path]:
    """A student of all teachers, one of each, and what they all began from."""
    recipe, folder = pipeline.recipe, pipeline.folder
    pipeline.render()
    if recipe.base is not None:
        pipeline.train("base", recipe.base)
    for name, stage in recipe.teachers.items():
        pipeline.train(f"teachers/{name}", stage)
    start = pipeline.train("student", recipe.student)
    sets = [ALL, *recipe.teachers]
    if not all((folder / f"of-{name}/kept/summary.json").exists() for name in sets):
        verdicts = judged(list(answers(pipeline)), pipeline.judge, recipe.curate)
        for name in sets:
            keep(folder / f"of-{name}" / "kept", verdicts, name, recipe.seed)
    found = {"start": start}
    for name in sets:
        found[name] = student_of(pipeline, folder / f"of-{name}")
    return found


def answers(pipeline: Pipeline) -> Iterator[Candidate]:
    """What every teacher makes of every sticker."""
    casting = Casting(recipe=pipeline.recipe, folder=pipeline.folder, fleet=pipeline.fleet)
    for done in casting.animate([*pipeline.teachers().values()]):
        tell("teachers animate", done, casting.chunks, "groups of stickers")
    yield from casting.answers()


def keep(folder: Path, verdicts: Sequence[Verdict], teacher: str, seed: int) -> None:
    """The best of all candidates, or of one teacher's."""
    own = [one for one in verdicts if teacher in (ALL, one.candidate.teacher)]
    kept = best(own)
    write_shard(shard_path(folder, 0), [scored(one).clip for one in kept], {"seed": seed})
    write_json(folder / "summary.json", summary(own, kept))


def student_of(pipeline: Pipeline, folder: Path) -> Path:
    """One that learns from the clips kept in a folder, from the common start."""
    inner = Pipeline(pipeline.recipe, folder, pipeline.judge, tell)
    for shared in ("student", "world"):
        link = folder / shared
        if not link.exists():
            link.symlink_to(Path("..") / shared)
    return Finish(inner)()


def kept_by(run: Path) -> dict[str, Any]:
    """What the judge kept for each student."""
    paths = sorted(run.glob("of-*/kept/summary.json"))
    return {path.parent.parent.name.removeprefix("of-"): read_json(path) for path in paths}


def measured(folder: Path, asked: Sequence[Asked]) -> dict[int, list[Row]]:
    """Every held-out clip's metrics, at each number of steps."""
    student, net = load_student(folder), load_judge(shipped.folder() / "judge").judge()
    found = {}
    for steps in STEPS:
        sampler = replace(student.sampler, levels=tuple(levels(steps, 2.0)), guidance=1.0)
        few = Student(
            network=student.network, sampler=sampler, tokenizer=student.tokenizer, card=student.card
        )
        found[steps] = rows_of(animated(few, asked), asked, net)
        score = np.mean([combined(row) for row in found[steps]])
        print(f"{folder}: {steps} steps, combined {score:.3f}", flush=True)
    return found


def apart(ours: Sequence[Row], theirs: Sequence[Row]) -> Interval:
    """The mean difference of the combined score over the same stickers, and its 95 % interval."""
    pairs = zip(ours, theirs, strict=True)
    return mean_interval([combined(a) - combined(b) for a, b in pairs])


def markdown(rows: Mapping[str, Mapping[int, Sequence[Row]]]) -> str:
    """A line a student, a column a number of steps: its score, and the ensemble's lead."""
    lines = ["| student of | " + " | ".join(f"{n} step{'s' * (n > 1)}" for n in STEPS) + " |"]
    lines.append("|---" * (len(STEPS) + 1) + "|")
    for name, found in rows.items():
        cells = []
        for steps in STEPS:
            score = np.mean([combined(row) for row in found[steps]])
            lead = apart(rows[ALL][steps], found[steps])
            behind = f" ({-lead.value:+.3f}: {-lead.high:+.3f} to {-lead.low:+.3f})"
            cells.append(f"{score:.3f}" + ("" if name == ALL else behind))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figures(rows: Mapping[str, Mapping[int, Sequence[Row]]]) -> dict[str, Any]:
    """All of it as JSON."""
    return {
        name: {
            str(steps): {
                "combined": [combined(row) for row in some],
                "metrics": plain({"all": summarise(some)})["all"],
            }
            for steps, some in found.items()
        }
        for name, found in rows.items()
    }


if __name__ == "__main__":
    main()
