"""Full or pruned, many steps or few -> what each technique saves and what it costs in quality.

python scripts/shrink.py OUT [--minutes 10] [--clips 64] [--only ROW ...] [--many FOLDER]

Two bases, the shipped student (few steps) and the first shipped teacher (many), each cut by every
technique and recovered for so many minutes. A row is written when it is done and skipped when it is
there; a training that was cut short goes on. OUT/table.json and OUT/table.md have all rows so far.
"""

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minuet import shipped, worlds
from minuet.benchmarks.judge import load_judge
from minuet.benchmarks.quality import METRICS, Judge, summarise
from minuet.contracts.errors import RequestError
from minuet.contracts.files import make_folder, read_json, write_bytes, write_json
from minuet.distill.augment import Augment
from minuet.distill.loop import Objective, TrainConfig, Trainer
from minuet.distill.losses import Weights
from minuet.distill.objectives import FlowMatching
from minuet.distill.path import generator
from minuet.distill.predict import Composed
from minuet.distill.shrink.extrude import Extrusion, by_chance, by_norm, extruded
from minuet.distill.shrink.funnel import funnelled, merged
from minuet.distill.shrink.gaps import GapDistillation, RandomGap, part_time
from minuet.distill.shrink.gates import gated, ungated
from minuet.distill.shrink.importance import cut, importances, least
from minuet.distill.shrink.recover import Recovery
from minuet.distill.store import ClipStore
from minuet.evaluation import Asked, animated, gigaflops, held_out, plain, rows_of
from minuet.models.denoiser import Denoiser, rebuilt
from minuet.models.structure import temporal
from minuet.models.student import Student, load_student, save_student

SEED = 31
FIRST = 0.4  # share of the recovery that the task has for itself
BATCH = 12
COSTS = ("parameters_M", "weights_MB", "GMAC_a_step", "NFE", "GMAC_a_shown_frame")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What every row is made with."""

    out: Path
    minutes: float
    rate: float
    store: ClipStore
    student: Student

    @property
    def whole(self) -> Denoiser:
        """A fresh copy of the base's network."""
        return copy.deepcopy(self.student.network)

    @property
    def task(self) -> FlowMatching:
        """The base's own: all levels, or its few ones."""
        few = self.student.sampler.levels[:-1] if self.student.sampler.steps <= 4 else ()
        return FlowMatching(
            augment=Augment(forget=0.02 if few else 0.1),
            mirror=worlds.mirror(),
            weights=Weights(),
            levels=few,
        )

    def train(
        self,
        name: str,
        network: Denoiser,
        share: float,
        objective: Callable[[Callable[[], int], int], Objective],
    ) -> Denoiser:
        """A share of the minutes of one training; the objective is told the step, and how many."""
        folder = self.out / name
        done = folder / "done.json"
        clips = self._planned(folder, network, share, objective(lambda: 0, 1))
        config = TrainConfig(clips=clips, batch=BATCH, learning_rate=self.rate, seed=SEED, ema=0.99)
        trainer = Trainer(network.train().requires_grad_(True), config, folder)
        trainer.resume()
        if not done.exists():
            trainer.run(objective(lambda: trainer.step, config.steps), self.store.draw)
            write_json(done, {"clips": clips})
        assert isinstance(trainer.average, Denoiser)
        return trainer.average.eval().requires_grad_(False)

    def _planned(self, folder: Path, network: Denoiser, share: float, objective: Objective) -> int:
        """How many clips fit into the minutes: measured once, then kept, so that runs resume."""
        plan = folder / "plan.json"
        if not plan.exists():
            trial = copy.deepcopy(network).train().requires_grad_(True)
            begun = time.monotonic()
            for at in range(2):
                rng = generator(SEED, at)
                objective(trial, self.store.draw(BATCH, rng), rng)[0].backward()
            clips = share * self.minutes * 60 * 2 * BATCH / (time.monotonic() - begun)
            write_json(plan, {"clips": max(BATCH, int(clips))})
        return int(read_json(plan)["clips"])

    def recovered(self, network: Denoiser, name: str, share: float = 1.0) -> Denoiser:
        """Two stages: the task alone, then output and features of the uncut network too."""
        teacher = self.whole.requires_grad_(False)
        second = Recovery(task=self.task, teacher=teacher, levels=self.task.levels)
        network = self.train(f"{name}/task", network, share * FIRST, lambda step, steps: self.task)
        return self.train(
            f"{name}/features", network, share * (1 - FIRST), lambda step, steps: second
        )


def whole(session: Session) -> Denoiser:
    """As it is."""
    return session.whole


def trained_on(session: Session) -> Denoiser:
    """Uncut, with the same minutes of training: what is recovery and what is mere training."""
    return session.train("trained-on", session.whole, 1.0, lambda step, steps: session.task)


def blocks(session: Session) -> Denoiser:
    """The two least important blocks of the denoiser removed."""
    network, levels = session.whole, session.student.sampler.levels[:-1]
    lessons = [session.store.draw(BATCH, generator(SEED, 1000 + at)) for at in range(4)]
    scores = importances(network, lessons, levels)
    scores = {n: s for n, s in scores.items() if not n.startswith(("caption", "sticker", "finder"))}
    return session.recovered(cut(network, least(scores, 2)), "blocks")


def funnels(session: Session) -> Denoiser:
    """Half the width within every block, through funnels that are merged."""
    wide = session.train(
        "funnels/funnel", funnelled(session.whole), 0.5, lambda step, steps: session.task
    )
    return session.recovered(merged(wide), "funnels", 0.5)


def halves_by_norm(session: Session) -> Denoiser:
    """Half the width within every block, removed at once."""
    network, kept = session.whole, by_norm(session.whole, 0.5)
    config = replace(network.config, widths={n: len(rows) for n, rows in kept.items()})
    return session.recovered(rebuilt(network, config, kept), "halves-by-norm")


def pushed_out(session: Session) -> Denoiser:
    """Half the width within every block, chosen by chance, pushed out by a growing pull."""
    kept = by_chance(session.whole, 0.5, generator(SEED))

    def pull(step: Callable[[], int], steps: int) -> Objective:
        growth = 5 / max(0.6 * steps, 5)  # up to the ceiling in three fifths of the steps
        return Extrusion(task=session.task, kept=kept, step=step, growth=growth)

    pushed = session.train("pushed-out/pull", session.whole, 0.5, pull)
    return session.recovered(extruded(pushed, kept), "pushed-out", 0.5)


def gates(session: Session) -> Denoiser:
    """Half the temporal blocks, chosen by learnt gates."""
    keep = len(temporal(session.whole)) // 2
    learnt = session.train(
        "gates/gates", gated(session.whole, keep), 0.5, lambda step, steps: session.task
    )
    return session.recovered(ungated(learnt), "gates", 0.5)


def halved(session: Session) -> Denoiser:
    """Noisy frames seen at half their size."""
    network = session.whole
    return session.recovered(rebuilt(network, replace(network.config, halved=True)), "halved")


def every_second(session: Session) -> Denoiser:
    """Every second frame; motions between them interpolated."""
    teacher = Composed(session.whole.requires_grad_(False))
    task = RandomGap(task=session.task, gaps=(2,))
    told = GapDistillation(teacher=teacher, gaps=(2,))

    def both(network: nn.Module, lesson: Any, rng: torch.Generator) -> Any:
        loss, parts = task(network, lesson, rng)
        more, others = told(network, lesson, rng)
        return loss + more, {**parts, **others}

    learnt = session.train("every-second/gap", session.whole, 1.0, lambda step, steps: both)
    return part_time(learnt, 2)


def blocks_halved(session: Session) -> Denoiser:
    """Two blocks removed and frames seen at half their size."""
    network = rebuilt(small := blocks(session), replace(small.config, halved=True))
    return session.recovered(network, "blocks-halved")


ROWS: dict[str, Callable[[Session], Denoiser]] = {
    "full": whole,
    "full, trained on": trained_on,
    "two blocks fewer": blocks,
    "half the channels, funnels": funnels,
    "half the channels, by norm": halves_by_norm,
    "half the channels, pushed out": pushed_out,
    "half the temporal blocks, gates": gates,
    "half the pixels": halved,
    "every second frame": every_second,
    "two blocks fewer, half the pixels": blocks_halved,
}


def main() -> None:
    """Every row that is not there yet, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="of recovery a row")
    parser.add_argument("--rate", type=float, default=3e-4, help="learning rate")
    parser.add_argument("--clips", type=int, default=64, help="held-out stickers")
    parser.add_argument(
        "--lessons", type=int, default=2048, help="clips of the world to learn from"
    )
    parser.add_argument("--world", type=Path, help="a folder of rendered clips")
    parser.add_argument("--few", type=Path, default=shipped.folder() / "student")
    parser.add_argument("--many", type=Path, default=shipped.folder() / "teachers" / "motion")
    parser.add_argument("--only", nargs="*", choices=[*ROWS], default=[*ROWS])
    args = parser.parse_args()
    torch.set_num_threads(1)
    make_folder(args.out)
    same_setting(args)
    world = args.world or args.out / "world"
    if args.world is None:
        for _ in worlds.fill_store(world, args.lessons, SEED):
            pass
    store, asked = ClipStore(world, args.lessons), list(held_out(args.clips))
    judge = load_judge(shipped.folder() / "judge").judge()
    for base, folder in (("few", args.few), ("many", args.many)):
        student = load_student(folder)
        session = Session(
            out=args.out / base,
            minutes=args.minutes,
            rate=args.rate,
            store=store,
            student=student,
        )
        for name in args.only:
            one_row(session, name, asked, judge)
            write_table(args.out)
    print((args.out / "table.md").read_text(encoding="utf-8"))


def same_setting(args: argparse.Namespace) -> None:
    """A folder holds one setting's rows.

    Raises:
        RequestError: it holds those of another.
    """
    asked = {key: str(value) for key, value in vars(args).items() if key not in ("out", "only")}
    path = args.out / "setting.json"
    if path.exists() and read_json(path) != asked:
        raise RequestError(f"{args.out}: holds rows of another setting; choose another folder.")
    write_json(path, asked)


def one_row(session: Session, name: str, asked: Sequence[Asked], judge: Judge) -> None:
    """Cut, recover, measure, write; a technique that refuses is a row with its reason."""
    path = session.out / f"{name.replace(',', '').replace(' ', '-')}.json"
    if path.exists():
        return
    try:
        network = ROWS[name](session).eval().requires_grad_(False)
    except RequestError as error:
        write_json(path, {"row": name, "base": session.out.name, "refused": str(error)})
        return
    student = replace(session.student, network=network)
    folder = session.out / "models" / path.stem
    save_student(student, folder)
    found = summarise(rows_of(animated(load_student(folder), asked), asked, judge))
    quality = plain({"quality": found})["quality"]
    costs = costs_of(student, (folder / "weights.safetensors").stat().st_size)
    value = {"row": name, "base": session.out.name, "costs": costs, "quality": quality}
    write_json(path, value | {"config": network.config.to_json(), "minutes": session.minutes})
    print(f"{session.out.name}: {name}: {costs}", flush=True)


def costs_of(student: Student, weights_bytes: int) -> dict[str, float]:
    """What a network weighs and works; MACs are half of PyTorch's FLOPs."""
    clip, evaluations = gigaflops(student) / 2, student.sampler.evaluations
    one = replace(student, sampler=replace(student.sampler, levels=(1.0, 0.0), guidance=1.0))
    parameters = sum(parameter.numel() for parameter in student.network.parameters())
    numbers = (parameters / 1e6, weights_bytes / 1e6, gigaflops(one) / 2, evaluations)
    shown = student.network.config.shown
    return dict(zip(COSTS, (*numbers, clip / shown), strict=True))


def write_table(out: Path) -> None:
    """Every row so far, in JSON and Markdown."""
    order = {name: at for at, name in enumerate(ROWS)}
    files = [path for base in ("few", "many") for path in sorted((out / base).glob("*.json"))]
    rows = sorted(map(read_json, files), key=lambda row: (row["base"], order[row["row"]]))
    write_json(out / "table.json", rows)
    write_bytes(out / "table.md", (markdown(rows) + "\n").encode())


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table, every quality with half its 95 % interval."""
    heads = ["steps", "network", *COSTS, *METRICS]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        if "refused" in row:
            cells = [row["refused"], *[""] * (len(heads) - 3)]
        else:
            cells = [f"{row['costs'][name]:.4g}" for name in COSTS]
            cells += [cell(row["quality"].get(name)) for name in METRICS]
        lines.append(f"| {row['base']} | {row['row']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(interval: dict[str, float] | None) -> str:
    """value ± half the interval."""
    if interval is None:
        return ""
    return f"{interval['value']:.3g} ± {(interval['high'] - interval['low']) / 2:.2g}"


if __name__ == "__main__":
    main()
