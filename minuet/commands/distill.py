"""A recipe becomes a student: teachers, their ensemble, the curated set, few steps."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from minuet.commands.common import Json, Out, Step, Threads
from minuet.contracts.errors import RequestError
from minuet.contracts.files import write_folder

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
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Train teachers, let them animate, keep the best, and teach a few-step student.

    Stages that are done are skipped, so an interrupted run continues when it is started again.
    """
    from minuet.pipeline import read_summary

    say = Out(json=json)
    check_place(out)
    folder = run or out.with_name(f"{out.name}.run")
    with stage_bars(say) as tell:
        made = run_recipe(recipe, folder, tell, threads)
    copy_student(made, out)
    kept = read_summary(folder)
    say.finish(
        {"student": str(out), "run": str(folder), "curation": kept},
        f"{out}: learnt from {kept['kept']} clips, the best of {kept['candidates']} candidates. "
        f"Next: minuet export {out} -o bundle",
    )


def run_recipe(recipe: str, folder: Path, tell: StageBars, threads: int = 0) -> Path:
    """Every stage of a recipe in a folder; the finished student's place."""
    import torch

    from minuet.pipeline import Pipeline
    from minuet.presets import read_recipe

    if threads:
        torch.set_num_threads(threads)
    return Pipeline(read_recipe(recipe), folder, judge(), tell).run()


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
