"""The whole flow on the embedded sticker world: teachers, student, bundle, report, stickers."""

import contextlib
import io
import textwrap
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from minuet.commands.common import Json, Out, Threads

RECIPE = "demo"
SIZE = 512  # what messaging apps ask for
BUDGET = "laptop-2core"
CAPTIONS = (
    "a red rabbit waving",
    "an orange fox spinning around",
    "a sleepy panda nodding",
    "a blue robot dancing wildly",
    "a happy avocado jumping for joy",
    "a purple owl with a party hat cheering",
)
SHOWN = 4  # held-out stickers on the sheet, teacher beside student
SHEET_SIDE = 160
CAPTION_COLUMNS = 22


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="where everything goes")] = Path(
        "out/demo"
    ),
    samples: Annotated[int, typer.Option(min=5, help="warm runs a measurement")] = 40,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Distil, quantize, export, prove, measure and animate; minutes on two cores.

    Continues the shipped student's distillation for a short while on new stickers (the whole
    recipe, from nothing, is `minuet distill default` and takes hours). Started again, it goes on
    where it was interrupted.
    """
    say, started = Out(json=json), time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()) if json else contextlib.nullcontext():
        found = _flow(out, samples, threads)
    minutes = (time.monotonic() - started) / 60
    lines = [f"{name:<10} {place}" for name, place in found.items()]
    say.finish(
        {name: str(place) for name, place in found.items()} | {"minutes": minutes},
        "\n".join(("", *lines, f"\nDone in {minutes:.1f} minutes.")),
    )


def _flow(out: Path, samples: int, threads: int) -> dict[str, Path]:
    """Every act, in order; where each left its result."""
    from minuet.commands.bench import bench
    from minuet.commands.export import export
    from minuet.commands.quantize import quantize

    say = Out()
    student, bundle, report = out / "student", out / "bundle", out / "report"
    _check_places(out)
    _act(say, 1, "teachers animate, a judge keeps the best, a student learns from them")
    _distil(out, student, threads)
    _act(say, 2, "the student in int8, where its stickers can spare it")
    # So small a student is weighed in act 4, and what cannot be spared stays float.
    quantize(student=student, out=out / "quantized", most_bytes=0.5, weigh=False)
    _act(say, 3, f"one program, {SIZE} px, in float and in int8; each proved against eager torch")
    source = str(out / "quantized")
    precision, side = "fp32,int8", str(SIZE)
    export(source, out=bundle, to="onnx", precision=precision, size=side, threads=threads)
    _act(say, 4, "how fast, how large")
    runtimes = "ort,openvino"
    bench(
        bundle=bundle,
        out=report,
        runtimes=runtimes,
        samples=samples,
        threads=threads,
        budget=BUDGET,
    )
    _act(say, 5, "stickers")
    stickers = _stickers(bundle, out / "stickers", threads, say)
    picture = _sheet(out, student)
    return {
        "stickers": stickers,
        "sheet": picture,
        "student": student,
        "bundle": bundle,
        "report": report / "report.html",
    }


def _check_places(out: Path) -> None:
    """Refuse at once what a later act would only stumble over after minutes."""
    from minuet.commands import bench, distill, export, quantize

    for name, verb in (("student", distill), ("quantized", quantize), ("bundle", export)):
        verb.check_place(out / name)
    bench.check_place(out / "report")


def _act(say: Out, number: int, title: str) -> None:
    say.say(f"\n{number}. {title}")


def _distil(out: Path, student: Path, threads: int) -> None:
    """The demo's recipe, and what its judge did."""
    from minuet.casting import read_summary
    from minuet.commands.distill import copy_student, run_recipe, stage_bars

    say, run = Out(), out / "run"
    with stage_bars(say) as tell:
        made = run_recipe(RECIPE, run, tell, threads)
    assert made is not None  # the judge chooses in this recipe
    copy_student(made, student)
    kept = read_summary(run)
    shares = ", ".join(f"{name} {count}" for name, count in kept["kept_by_teacher"].items())
    say.say(f"kept {kept['kept']} of {kept['candidates']} candidates (best of each: {shares})")


def _stickers(bundle: Path, folder: Path, threads: int, say: Out) -> Path:
    """One animation a caption."""
    from minuet import media
    from minuet.commands.animate import play, still_of
    from minuet.player import open_player, script

    bar = say.progress("animating", total=len(CAPTIONS))
    with open_player(bundle, threads=threads) as player, bar as step:
        for seed, caption in enumerate(CAPTIONS):
            told = script(caption, seed)
            still = still_of(told, None, player.size, False, say)
            played = play(player, still, told.caption, seed)
            path = folder / f"{caption.replace(' ', '-')}.webp"
            media.write_animation(path, played.frames_THWC)
            step(note=caption)
    return folder


def _sheet(out: Path, student: Path) -> Path:
    """An animated sheet: the best teacher beside the student, on stickers neither has seen."""
    from minuet import media, shipped
    from minuet.models.student import load_student

    path = out / "teacher-beside-student.webp"
    teacher = load_student(shipped.folder() / "teachers" / "caption")
    media.write_animation(path, teacher_beside_student(teacher, load_student(student), SHOWN))
    return path


def teacher_beside_student(teacher: Any, student: Any, count: int) -> Any:
    """Frames (T, H, W, 4) of a sheet with one held-out sticker a row."""
    import numpy as np

    from minuet import media
    from minuet.evaluation import animated, held_out

    asked = list(held_out(count, SHEET_SIDE))
    left, right = animated(teacher, asked), animated(student, asked)
    columns = [
        f"{who}, {passes} pass{'es' * (passes > 1)}"
        for who, passes in (
            ("teacher", teacher.sampler.evaluations),
            ("student", student.sampler.evaluations),
        )
    ]
    sheets = [
        media.sheet(
            [[a[at], b[at]] for a, b in zip(left, right, strict=True)],
            [textwrap.fill(one.caption, CAPTION_COLUMNS) for one in asked],
            columns=columns,
            side=SHEET_SIDE,
        )
        for at in range(len(left[0]))
    ]
    return np.stack(sheets)
