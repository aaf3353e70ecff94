"""A teacher that recolours and one that animates -> one student that does both, and a table.

PYTHONPATH=. python scripts/factorized.py -o out/factorized [--rounds 90] [--tests 96]

Factorized diffusion distillation on the sticker world at 32 px. The editing teacher knows single
frames: a sticker, a colour -> the recoloured sticker in any pose. The animating teacher knows
clips of stickers in their own colour. Nobody is shown a recoloured sticker that moves: that the
student learns from the two teachers alone. Interrupted, it goes on where it was.
"""

import argparse
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minuet import shipped
from minuet.benchmarks.judge import load_judge
from minuet.benchmarks.quality import Future, Judge, Reference, score
from minuet.benchmarks.stats import mean_interval
from minuet.contracts.files import write_json
from minuet.distill.adapters import attach, delta, load_weights, save_weights, stack, trained
from minuet.distill.critics import Critic, frozen
from minuet.distill.factorized import Critique, Factorized, Samples, Voice, rivals_of
from minuet.distill.loop import Objective, Progress, Rivals, TrainConfig, Trainer
from minuet.distill.path import generator
from minuet.distill.predict import Condition, Predictor
from minuet.distill.rollout import generate
from minuet.distill.score import Range
from minuet.distill.views import Clip, Frames
from minuet.models.compose import enlarge, unpremultiply
from minuet.stickers import world
from scripts.recoloured import (
    COARSE,
    FILM,
    FINE,
    Cards,
    Draw,
    Painter,
    any_pose,
    asked,
    cards,
    denoising,
    moving,
    questions,
    recoloured,
    small,
    spec_at,
)

JUDGED = 64  # px a side, as the judge sees
BACKBONE = ("level*", "mix*", "stem", "fine*", "down", "coarse*", "space*", "up", "out")
RANK = 8
POSITIVES = (1.0, 0.75, 0.5, 0.25, 0.0)  # levels of the samples that critics learn from
COLUMNS = ("both", "motion", "color", "psnr", "warp")
STACKED, ALIGNED = "stacked, not aligned", "aligned"

Scores = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of aligning the stacked network: the method, or the method without a part."""

    after: str = ""  # the way whose student it begins with
    critics: bool = False
    sds: float = 2.5
    bins: bool = True
    without: tuple[str, ...] = ()  # teachers


WAYS = {  # scores first, then scores and critics, as published
    "scores": Way(),
    "aligned": Way(after="scores", critics=True),
    "critics a tenth as loud": Way(after="scores", critics=True, sds=25.0),
    "no critics": Way(after="scores"),
    "scores, no bins": Way(bins=False),
    "no bins": Way(after="scores, no bins", critics=True, bins=False),
    "no animating teacher": Way(without=("motion",)),
    "no editing teacher": Way(without=("edit",)),
    "critics": Way(critics=True, sds=0.0),
    "no scores": Way(after="critics", critics=True, sds=0.0),
}

TAUGHT: dict[str, Draw] = {"base": any_pose, "edit": recoloured, "motion": moving}


class Studio:
    """One run in one folder: the backbone, two teachers, students of them in several ways."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self.folder, self.args = folder, args
        path = folder / "cards.safetensors"
        if not path.exists():
            save_weights(path, vars(cards(args.seed, args.specs)))
        self.data = Cards(**load_weights(path))
        self._teachers: dict[str, Painter] = {}

    def teacher(self, name: str) -> Painter:
        """The backbone, or a teacher that began as the backbone; trained if it is not there."""
        if name not in self._teachers:
            torch.manual_seed(self.args.seed)
            network = Painter()
            if name != "base":
                network.load_state_dict(self.teacher("base").state_dict())
            batch = 8 if name == "motion" else 64
            config = self._config(getattr(self.args, name), batch, 2e-3, floor=0.02)
            network = self._learned(network, denoising, TAUGHT[name], config, name)
            self._teachers[name] = frozen(network)
        return self._teachers[name]

    def delta(self, name: str) -> dict[str, Tensor]:
        """What a teacher learned since the backbone, kept as a file."""
        path = self.folder / f"{name}-delta.safetensors"
        if not path.exists():
            tuned, base = self.teacher(name).state_dict(), self.teacher("base").state_dict()
            save_weights(path, delta(tuned, base))
        return load_weights(path)

    def stacked(self) -> Painter:
        """Both teachers' deltas on the backbone, and LoRA on all of it but its layers of time."""
        network = copy.deepcopy(self.teacher("base"))
        stack(network, [self.delta("edit"), self.delta("motion")])
        torch.manual_seed(self.args.seed)
        attach(network, BACKBONE, rank=RANK)
        return network

    def voices(self, *, critics: bool) -> dict[str, Voice]:
        """The teachers, each with its view, its range of noise and its critic."""
        edit, motion, base = (self.teacher(name) for name in ("edit", "motion", "base"))

        def told(condition: Condition) -> Tensor:
            look = base.looked(condition["sticker"] * 2 - 1)[-1].mean((2, 3))
            return torch.cat([look, base.said(condition["tokens"])], 1)

        def critique(teacher: Painter, *, temporal: bool) -> Critique | None:
            critic = Critic(
                base.looked,
                (FINE, COARSE),
                condition=0 if temporal else COARSE + FILM,
                temporal=temporal,
                width=32,
            )
            samples = Samples(teacher=teacher, levels=POSITIVES)
            one = Critique(critic=critic, positives=samples, told=None if temporal else told)
            return one if critics else None

        torch.manual_seed(self.args.seed)
        return {
            "edit": Voice(
                teacher=edit,
                view=Frames(names={"sticker": "sticker", "tokens": "look"}),
                levels=Range(low=0.2, high=0.8),
                critique=critique(edit, temporal=False),
            ),
            "motion": Voice(
                teacher=motion,
                view=Clip(names={"tokens": "tokens"}, first="sticker"),
                levels=Range(low=0.2, high=0.9),
                critique=critique(motion, temporal=True),
            ),
        }

    def student(self, name: str) -> Painter:
        """The stacked network, aligned as its row of the table says."""
        way, network = WAYS[name], self.stacked()
        if way.after:
            network.load_state_dict(self.student(way.after).state_dict())
        voices = self.voices(critics=way.critics)
        voices = {key: voice for key, voice in voices.items() if key not in way.without}
        rivals = rivals_of(voices, learning_rate=1e-3)
        objective = Factorized(voices=voices, sds=way.sds, bins=way.bins, rivals=rivals)
        rounds = self.args.rounds // (3 if way.after else 1)
        config = self._config(4 * rounds, 4, self.args.rate, floor=1.0)
        network = self._learned(network, objective, asked, config, name, rivals)
        save_weights(self.folder / name / "lora.safetensors", trained(network))
        return network

    def _config(self, clips: int, batch: int, rate: float, *, floor: float) -> TrainConfig:
        return TrainConfig(
            clips=clips,
            batch=batch,
            learning_rate=rate,
            floor=floor,
            warmup_clips=10 * batch,
            weight_decay=0.0,
            ema=0.95,
            seed=self.args.seed,
        )

    def _learned(
        self,
        network: Painter,
        objective: Objective,
        draw: Draw,
        config: TrainConfig,
        name: str,
        rivals: Rivals | None = None,
    ) -> Painter:
        """The average of a training that goes on from its checkpoint, or is over."""
        trainer = Trainer(network, config, self.folder / name, rivals)
        trainer.resume()
        if trainer.step < config.steps:
            trainer.run(objective, lambda size, rng: draw(self.data, size, rng), report(name))
        network.load_state_dict(trainer.average.state_dict())
        return network


def report(name: str) -> Callable[[Progress], None]:
    """A line now and then."""

    def tell(progress: Progress) -> None:
        losses = ", ".join(f"{key} {value:.4f}" for key, value in progress.losses.items())
        print(f"{name} {progress.step}/{progress.steps}: {losses}", flush=True)

    return tell


# --- the table ---------------------------------------------------------------------------------


def references(seed: int, count: int) -> list[Reference]:
    """The recoloured sticker moving: what nobody is shown, for judging alone."""
    found = []
    for index in range(count):
        spec, color = spec_at(seed, index)
        truth = world.render_truth(replace(spec, color=color), JUDGED)
        future = Future(
            frames_THWC=truth.frames_THWC, flow_THW2=truth.flow_THW2, mask_THW=truth.mask_THW
        )
        found.append(Reference(futures=(future,), motion=spec.motion, color=color))
    return found


def shown(clips_NTCHW: Tensor) -> list[NDArray[np.uint8]]:
    """Clips in [0, 1] as the judge sees them: enlarged, straight alpha."""
    found = []
    for clip in clips_NTCHW:
        large = unpremultiply(enlarge(clip.clamp(0, 1), JUDGED))
        found.append((large * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return found


def graded(clips_NTCHW: Tensor, truths: Sequence[Reference], judge: Judge) -> Scores:
    """Each clip's scores by name."""
    rows = [score(c, t, judge) for c, t in zip(shown(clips_NTCHW), truths, strict=True)]
    found = {name: np.array([row[name][0] for row in rows]) for name in COLUMNS if name != "both"}
    return found | {"both": found["motion"] * found["color"]}


@torch.no_grad()
def played(
    network: Predictor, data: Cards, *, frames_alone: bool = False, steps: int = 3
) -> Tensor:
    """The network's clips in [0, 1] for all questions, from the same noise."""
    lesson = questions(data, torch.arange(len(data.own_NL)))
    noise = torch.randn(lesson.x0.shape, generator=generator(5))
    levels = [1 - i / steps for i in range(steps + 1)]
    if not frames_alone:
        return generate(network, noise, levels, lesson.condition) * 0.5 + 0.5
    flat, told = Frames(names={"sticker": "sticker", "tokens": "look"})(noise, lesson.condition)
    return generate(network, flat, levels, told).reshape(noise.shape) * 0.5 + 0.5


def compared(studio: Studio, names: Sequence[str]) -> Iterator[tuple[str, Scores]]:
    """Every row of the table, as it is ready."""
    seed, count = studio.args.seed + 1, studio.args.tests
    truths, data = references(seed, count), cards(seed, count)
    judge = load_judge(shipped.folder() / "judge").judge()
    exact = torch.stack([small(truth.futures[0].frames_THWC) for truth in truths])
    yield "the truth at 32 px", graded(exact, truths, judge)
    yield "animating teacher", graded(played(studio.teacher("motion"), data), truths, judge)
    alone = played(studio.teacher("edit"), data, frames_alone=True)
    yield "editing teacher, frame by frame", graded(alone, truths, judge)
    yield STACKED, graded(played(studio.stacked(), data), truths, judge)
    for name in names:
        yield name, graded(played(studio.student(name), data), truths, judge)


def line(name: str, scores: Scores, best: Scores | None) -> str:
    """A row in Markdown: means and 95 % intervals; paired differences from the aligned student."""
    cells = [name]
    for column in COLUMNS:
        found = mean_interval(scores[column])
        cell = f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"
        if best is not None:
            gap = mean_interval(scores[column] - best[column])
            cell += f" ({gap.value:+.2g} [{gap.low:+.2g}, {gap.high:+.2g}])"
        cells.append(cell)
    return "| " + " | ".join(cells) + " |"


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/factorized"))
    parser.add_argument("--specs", type=int, default=800, help="stickers to learn from")
    parser.add_argument("--base", type=int, default=24_000, help="images the backbone sees")
    parser.add_argument("--edit", type=int, default=20_000, help="images its teacher sees")
    parser.add_argument("--motion", type=int, default=5_000, help="clips its teacher sees")
    parser.add_argument("--rounds", type=int, default=90, help="of alignment, and a third more")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of the alignment")
    parser.add_argument("--tests", type=int, default=96, help="stickers to be judged by")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Teachers, students, table."""
    args = parsed(argv)
    torch.set_num_threads(1)
    table: dict[str, Scores] = {}
    for name, scores in compared(Studio(args.out, args), args.ways):
        table[name] = scores
        print(line(name, scores, None), flush=True)
        plain = {row: {key: v.tolist() for key, v in s.items()} for row, s in table.items()}
        write_json(args.out / "scores.json", plain)
    print("| | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 1) + "|")
    for name, scores in table.items():
        print(line(name, scores, table.get(ALIGNED) if name != ALIGNED else None))


if __name__ == "__main__":
    main()
