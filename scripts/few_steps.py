"""Every way to fewer steps, as long each from one start -> a table at 1, 2, 4 and 8 steps.

PYTHONPATH=. python scripts/few_steps.py -o out/few-steps [--minutes 20] [--clips 128]
    [--methods matching reflow ...] [--start FOLDER]

The start is the teacher and, unguided, every student's first weights. `world` is the control: the
same minutes of training on known clips, without a teacher. Interrupted, it goes on where it was;
a finished method is not trained again. What a method saves depends on the machine's load only in
how many clips its minutes hold: both are in the table.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minuet import methods, shipped, worlds
from minuet.benchmarks.judge import load_judge
from minuet.benchmarks.quality import METRICS, summarise
from minuet.contracts.files import read_json, write_json
from minuet.distill.augment import Augment
from minuet.distill.few.guidance import Folding, Scaled, ToldScales, attached
from minuet.distill.few.progressive import Progressive
from minuet.distill.loop import Objective, TrainConfig, Trainer
from minuet.distill.losses import Weights
from minuet.distill.objectives import FlowMatching
from minuet.distill.path import levels
from minuet.distill.predict import Composed, Predictor
from minuet.distill.store import ClipStore
from minuet.distill.teacher import NetworkTeacher
from minuet.evaluation import Asked, animated, gigaflops, held_out, plain, rows_of
from minuet.methods import Average, Setting
from minuet.models.denoiser import Denoiser
from minuet.models.student import Sampler, Student, load_student, save_student

SEED = 31
TEACHER_STEPS = 16
TRIAL = 4  # steps that are timed before a method's minutes become clips
RENOISED = ("consistency", "adversarial")  # the others sample by Euler, as exported programs do


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Training on known clips, whose labels only a sticker network has answers to."""

    objective: FlowMatching

    def __call__(
        self, network: nn.Module, lesson: Any, rng: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(network, Composed)
        return self.objective(network.network, lesson, rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One start, and how its students are to be sampled."""

    start: Student
    guidance: float
    shift: float
    steps: int  # of the sampler that students are trained for

    @property
    def levels(self) -> list[float]:
        """The students'."""
        return levels(self.steps, self.shift)

    @property
    def teacher(self) -> Predictor:
        """The start with guidance."""
        return NetworkTeacher(
            name="start", network=self.start.network, levels=self.many, guidance=self.guidance
        ).predict

    @property
    def many(self) -> list[float]:
        """The teacher's levels."""
        return levels(TEACHER_STEPS, self.shift)

    def network(self) -> Composed:
        """A student as it begins, or a fake score."""
        return Composed(copy.deepcopy(self.start.network), fast=True).requires_grad_(True)

    def setting(self, average: Average) -> Setting:
        """What the methods of recipes are told."""
        return Setting(
            teacher=self.teacher,
            network=self.start.network,
            levels=self.levels,
            teacher_steps=TEACHER_STEPS,
            turns=3,
            average=average,
        )


def world(bench: Bench, average: Average) -> Objective:
    """The control."""
    return Labelled(
        objective=FlowMatching(
            augment=Augment(forget=0.0),
            mirror=worlds.mirror(),
            weights=Weights(),
            levels=bench.levels[:-1],
        )
    )


def folding(bench: Bench, average: Average) -> Objective:
    """Guidance alone: its steps stay what they were."""
    teacher = Scaled(predictor=Composed(bench.start.network, fast=True), names=("tokens",))
    return ToldScales(objective=Folding(teacher=teacher), ranges=[(1.0, 2 * bench.guidance - 1)])


def progressive(bench: Bench, average: Average) -> Objective:
    """Two steps into one; the second half of the minutes does it again, from its own result."""
    return Progressive(teacher=bench.teacher, teacher_levels=levels(2 * bench.steps, bench.shift))


Method = Callable[[Bench, Average], Objective]


def of_recipes(name: str) -> Method:
    """A method that recipes have: all of them fold guidance in, and lead to few steps at once."""
    return lambda bench, average: methods.METHODS[name](bench.setting(average))


METHODS: dict[str, Method] = {
    **{method.__name__: method for method in (world, folding, progressive)},
    **{"joint" if name == "progressive" else name: of_recipes(name) for name in methods.METHODS},
}


def main() -> None:
    """Train, sample, score, print, save."""
    args = arguments()
    torch.set_num_threads(args.threads)
    start = load_student(args.start)
    guidance = start.sampler.guidance if start.sampler.guidance != 1 else args.guidance
    bench = Bench(start=start, guidance=guidance, shift=args.shift, steps=args.trained)
    asked = list(held_out(args.clips))
    results = {"teacher": once(args.out / "teacher.json", lambda: teacher_row(start, asked))}
    results["start"] = once(args.out / "start.json", lambda: rows(start, asked, args, "start"))
    for done in worlds.fill_store(args.out / "world", args.lessons, SEED):
        print(f"\rworld {done}/{args.lessons}", end="", flush=True)
    print()
    for name in args.methods:
        folder = args.out / name
        results[name] = once(folder / "result.json", partial(measured, name, bench, asked, args))
        print(markdown({name: results[name]}), flush=True)
    write_json(args.out / "few-steps.json", {"clips": args.clips, "methods": results})
    (args.out / "few-steps.md").write_text(markdown(results) + "\n", encoding="utf-8")
    print(markdown(results))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, default=shipped.folder() / "teachers" / "caption")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, each method")
    parser.add_argument("--clips", type=int, default=128, help="held-out stickers")
    parser.add_argument("--lessons", type=int, default=2000, help="clips of the world to train on")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--trained", type=int, default=4, help="steps that students train for")
    parser.add_argument("--guidance", type=float, default=1.5, help="where the start names none")
    parser.add_argument("--shift", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is in the file, or what is made now and kept there."""
    if not path.exists():
        write_json(path, make())
    found: dict[str, Any] = read_json(path)
    return found


def measured(name: str, bench: Bench, asked: list[Asked], args: argparse.Namespace) -> Any:
    """A method's minutes of training, its student saved, sampled and scored."""
    network = bench.start.network
    clips, seconds = 0, 0.0
    halves = 2 if name == "progressive" else 1
    for half in range(halves):
        own = bench if not half else replace(bench, guidance=1.0, start=_told(bench.start, network))
        own = replace(own, steps=bench.steps * 2) if half < halves - 1 else own
        folder = args.out / name / f"training-{half}"
        network, seen, spent = trained(name, own, folder, args, args.minutes / halves)
        clips, seconds = clips + seen, seconds + spent
    scales = (bench.guidance,) * network.config.scales
    sampler = Sampler(levels=tuple(bench.levels), folded=bench.guidance, scales=scales)
    student = replace(_told(bench.start, network), sampler=sampler)
    save_student(student, args.out / name / "student")
    return rows(student, asked, args, name) | {"clips": clips, "seconds": seconds}


def trained(
    name: str, bench: Bench, folder: Path, args: argparse.Namespace, minutes: float
) -> tuple[Denoiser, int, float]:
    """The averaged network, the clips it saw, the seconds that took."""
    store = ClipStore(args.out / "world", args.lessons)
    plan = once(folder / "plan.json", lambda: planned(name, bench, folder, args, minutes, store))
    trainer, objective = prepared(name, bench, folder, args, plan["clips"])
    trainer.resume()
    print(f"{name}: {plan['clips']} clips in {minutes:g} minutes", flush=True)
    trainer.run(objective, store.draw)
    assert isinstance(trainer.average, Composed)
    return trainer.average.network, plan["clips"], spent(folder / "log.jsonl")


def planned(
    name: str,
    bench: Bench,
    folder: Path,
    args: argparse.Namespace,
    minutes: float,
    store: ClipStore,
) -> dict[str, Any]:
    """How many clips the minutes hold: a few steps are timed, and thrown away."""
    trial = folder.with_name(f"{folder.name}-trial")
    trainer, objective = prepared(name, bench, trial, args, TRIAL * args.batch)
    began = time.monotonic()
    trainer.run(objective, store.draw)
    each = (time.monotonic() - began) / TRIAL
    return {"clips": max(TRIAL, int(60 * minutes / each)) * args.batch, "step_seconds": each}


def prepared(
    name: str, bench: Bench, folder: Path, args: argparse.Namespace, clips: int
) -> tuple[Trainer, Objective]:
    """A method's trainer and objective, as they begin."""
    average, network = Average(), bench.network()
    objective = METHODS[name](bench, average)
    if name == "folding":
        network = Composed(attached(network.network, 1), fast=True)
    config = TrainConfig(
        clips=clips,
        batch=args.batch,
        learning_rate=args.learning_rate,
        warmup_clips=10 * args.batch,
        seed=SEED,
    )
    trainer = Trainer(network, config, folder, methods.rivals_of(objective))
    average.network = trainer.average
    return trainer, objective


def spent(log: Path) -> float:
    """Seconds of training by its log, interruptions left out."""
    seconds, before = 0.0, 0
    for line in log.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        seconds += max(0, row["clips"] - before) / row["clips_per_second"]
        before = row["clips"]
    return seconds


def teacher_row(start: Student, asked: list[Asked]) -> dict[str, Any]:
    """The start by its own sampler."""
    return {
        "clips": 0,
        "seconds": 0.0,
        "by_steps": {str(start.sampler.steps): scored(start, asked)},
    }


def rows(student: Student, asked: list[Asked], args: argparse.Namespace, name: str) -> Any:
    """One network at every count of steps, one pass a step."""
    by_steps = {}
    for steps in args.steps:
        own = replace(student.sampler, levels=tuple(levels(steps, args.shift)), guidance=1.0)
        one = replace(student, sampler=own)
        by_steps[str(steps)] = scored(one, asked, renoise=name in RENOISED)
        print(f"{name} at {steps}: done", flush=True)
    return {"clips": 0, "seconds": 0.0, "by_steps": by_steps}


def scored(student: Student, asked: list[Asked], *, renoise: bool = False) -> dict[str, Any]:
    """Cost and metrics with their intervals."""
    judge = load_judge(shipped.folder() / "judge").judge()
    made = rows_of(animated(student, asked, renoise=renoise), asked, judge)
    cost = {"evaluations": student.sampler.evaluations, "gflop": gigaflops(student)}
    return cost | plain({"metrics": summarise(made)})


def _told(student: Student, network: Denoiser) -> Student:
    return replace(student, network=network.eval().requires_grad_(False), sha256="")


def markdown(results: Mapping[str, Any]) -> str:
    """A row for each method and count of steps; a value with half its 95 % interval."""
    head = ["method", "steps", "passes", "clips", "seconds", *METRICS]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, result in results.items():
        for steps, found in result["by_steps"].items():
            cells = [name, steps, str(found["evaluations"])]
            cells += [str(result["clips"]), f"{result['seconds']:.0f}"]
            cells += [cell(found["metrics"].get(metric)) for metric in METRICS]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(interval: Mapping[str, float] | None) -> str:
    """value ± half the interval."""
    if interval is None:
        return ""
    return f"{interval['value']:.3g} ± {(interval['high'] - interval['low']) / 2:.2g}"


if __name__ == "__main__":
    main()
