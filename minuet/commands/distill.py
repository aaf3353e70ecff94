"""A recipe becomes a student: teachers, their ensemble, the curated set, few steps."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from minuet.commands.common import Json, Out, Step, Threads
from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_folder

Tell = Callable[[str, int, int, str], None]  # stage, done, total, note
STUDENT = {"model.json", "weights.safetensors", "tokenizer.json", "card.md"}


class StageBars:
    """One progress bar a stage: a new stage closes the bar before it."""

    def __init__(self, out: Out, stack: ExitStack) -> None:
        self._out, self._stack = out, stack
        self._stage, self._done = "", 0
        self._bar = ExitStack()
        self._step: Step | None = None
        stack.callback(self._bar.close)

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        """`done` of `total` in a stage."""
        if stage != self._stage:
            self._bar.close()
            self._stage, self._done = stage, 0
            self._step = self._bar.enter_context(self._out.progress(stage, total=total))
        if self._step is not None:
            self._step(done - self._done, note)
        self._done = done


@contextmanager
def stage_bars(out: Out) -> Generator[StageBars]:
    """Bars for a pipeline, closed at the end of the block."""
    with ExitStack() as stack:
        yield StageBars(out, stack)


def distill(
    recipe: Annotated[str, typer.Argument(help="a YAML file, or a preset's name: demo, default")],
    out: Annotated[Path, typer.Option("-o", "--out", help="the student to write")] = Path(
        "student"
    ),
    run: Annotated[
        Path | None, typer.Option(help="the run's folder; none: beside the student")
    ] = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            help="who is told how it goes: tensorboard, wandb, ..., none; may be repeated"
        ),
    ] = None,
    sheet_minutes: Annotated[
        float, typer.Option(min=0, max=1e6, help="between two sheets of samples; 0: none")
    ] = 10.0,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Train teachers, let them animate, keep the best, and teach a few-step student.

    Stages that are done are skipped, so an interrupted run continues when it is started again. On
    several devices: accelerate launch -m minuet distill ...
    """
    from minuet.casting import read_summary
    from minuet.distill.scale import fleet
    from minuet.trackers import check_trackers
    from minuet.watching import Watch

    check_place(out)
    check_trackers(tracker or ())
    folder = run or out.with_name(f"{out.name}.run")
    watch = Watch(trackers=tuple(tracker or ()), sheet_minutes=sheet_minutes)
    main = fleet().rank == 0
    say = Out(json=json)
    with stage_bars(say) as bars:
        made = run_recipe(recipe, folder, bars if main else _unseen, threads, watch)
    if not main:  # one process tells of it and writes the student
        return
    if made is None:
        say.finish(
            {"run": str(folder), "candidates": str(folder / "candidates")},
            f"{folder}: the teachers have animated. Next: minuet curate {folder}, then "
            f"minuet curate {folder} --apply, then this command again.",
        )
        return
    copy_student(made, out)
    kept = read_summary(folder)
    say.finish(
        {"student": str(out), "run": str(folder), "curation": kept},
        f"{out}: learnt from {kept['kept']} clips, the best of {kept['candidates']} candidates. "
        f"Next: minuet export {out} -o bundle",
    )


def _unseen(stage: str, done: int, total: int, note: str) -> None:
    """The bars of a process that is not the main one."""


def run_recipe(
    recipe: str, folder: Path, tell: Tell, threads: int = 0, watch: Any = None
) -> Path | None:
    """Every stage of a recipe in a folder, watched if at all as told; the student's place."""
    import torch

    from minuet.checks import check_recipe
    from minuet.pipeline import Pipeline
    from minuet.presets import read_recipe

    if threads:
        torch.set_num_threads(threads)
    return Pipeline(read_recipe(recipe, check_recipe), folder, judge(), tell, watch).run()


def judge() -> Any:
    """The shipped judge as curation asks it: frames (T, H, W, 4) -> how likely each motion is."""
    import torch

    from minuet import shipped
    from minuet.benchmarks.judge import as_input, load_judge

    net = load_judge(shipped.folder() / "judge")

    def motions(frames_THWC: Any) -> dict[str, float]:
        with torch.inference_mode():
            likely = net.motion(as_input(frames_THWC)[None])[0].softmax(-1)
        return dict(zip(net.words.motions, likely.tolist(), strict=True))

    return motions


def check_place(out: Path) -> None:
    """Refuse to replace anything but a student or an empty folder, before hours are spent.

    Raises:
        RequestError: something else is there, or the path has no name of its own.
    """
    if out.name in ("", ".."):
        raise RequestError(f"{out}: has no name of its own; name the folder to write.")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise RequestError(f"{out}: a file or a link is in the way; choose another name.")
    strangers = sorted({path.name for path in out.iterdir()} - STUDENT) if out.is_dir() else []
    if strangers:
        raise RequestError(
            f"{out}: holds something else than a student ({strangers[0]}); choose another name."
        )


def copy_student(made: Path, out: Path) -> None:
    """A student's files, whole or not at all."""
    with write_folder(out) as staging:
        for path in sorted(made.iterdir()):
            (staging / path.name).write_bytes(path.read_bytes())
