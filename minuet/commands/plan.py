"""A recipe becomes the list of what it would do and cost, without doing any of it."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from minuet.commands.common import Json, Out
from minuet.contracts.recipe import Recipe
from minuet.memory import GIB, Load, advice, ways
from minuet.presets import preset_names, read_recipe

PRESETS = ", ".join(preset_names())

SECONDS_AN_HOUR = 3600
MEASURE_SECONDS = 40  # of all sizes together; building the networks takes the rest of a minute
SLOWEST = 5  # GFLOP/s: a size of which three steps at this speed take too long is not timed
BLOCKS = 24  # of a network known by its parameters alone, one of which FSDP2 gathers at a time
MEMORY = (
    "GiB a device",
    "weights",
    "gradients",
    "optimizer",
    "average",
    "rivals",
    "teachers",
    "clips",
    "copied",
    "sharded",
)


def plan(
    recipe: Annotated[str, typer.Argument(help=f"a YAML file, or one of: {PRESETS}")],
    gflops: Annotated[
        float, typer.Option(min=1.0, max=1e9, help="effective GFLOP/s of training on this machine")
    ] = 90.0,
    measure: Annotated[
        bool, typer.Option("--measure", help="time a few training steps of each size here, first")
    ] = False,
    devices: Annotated[int, typer.Option(min=1, max=4096, help="that train together")] = 1,
    device_memory: Annotated[
        float, typer.Option(min=0.1, max=1e5, help="of each device, in GiB")
    ] = 16.0,
    student: Annotated[
        float, typer.Option(min=0, max=1e13, help="parameters of a student of your own")
    ] = 0,
    teacher: Annotated[
        float, typer.Option(min=0, max=1e13, help="parameters of what is asked while it trains")
    ] = 0,
    rivals: Annotated[
        float, typer.Option(min=0, max=1e13, help="parameters of what learns against it")
    ] = 0,
    teacher_bytes: Annotated[int, typer.Option(min=1, max=4, help="a teacher's parameter")] = 4,
    clip_memory: Annotated[
        float, typer.Option(min=0, max=1e5, help="GiB that your student keeps of a clip")
    ] = 0,
    json: Json = False,
) -> None:
    """Say what a recipe would do and what it costs; nothing is run and nothing is written.

    The default speed was measured on one core with AVX-512 and bfloat16, teacher size; hours are
    an estimate from it. What a device holds is copied (DDP) or sharded (FSDP2); with --student,
    of a network that is no size of minuet's.
    """
    from minuet.acts import acts_of, trainings
    from minuet.checks import check_recipe
    from minuet.loads import loads_of

    out = Out(json=json)
    read = read_recipe(recipe, check_recipe)
    acts = acts_of(read)
    rows = [(act.stage, act.network, act.clips, round(act.teraflop, 1), act.what) for act in acts]
    out.table(("stage", "network", "clips", "TFLOP", "what happens"), rows)
    speeds = measured({stage.size for _, stage in trainings(read)}) if measure else {}
    slowest = min(speeds.values(), default=gflops)
    teraflop = sum(act.teraflop for act in acts)
    hours = (
        sum(act.teraflop * 1000 / speeds.get(act.network, slowest) for act in acts)
        / SECONDS_AN_HOUR
    )
    asked = (student, teacher, rivals, teacher_bytes, clip_memory * GIB)
    loads = [("your student", _own(read, *asked))] if student else list(loads_of(read, *asked[1:4]))
    room = device_memory * GIB
    out.table(MEMORY, [_row(name, load, devices, room) for name, load in loads])
    told = {name: advice(load, devices, room) for name, load in loads}
    how = "measured here" if speeds else f"{gflops:g} GFLOP/s, estimated"
    words = [f"{name}: {line}" for name, lines in told.items() for line in lines]
    if student and not clip_memory:
        words.append("what clips keep for the backward pass is not in it: give --clip-memory")
    if read.pipelines:
        words.append(f"not counted: what the pipelines {', '.join(read.pipelines)} do and hold")
    out.finish(
        {
            "acts": [asdict(act) for act in acts],
            "teraflop": teraflop,
            "estimated_hours": hours,
            "measured_gflops": speeds,
            "memory": {name: _told(load, devices, room) for name, load in loads},
            "advice": told,
        },
        f"\n{teraflop:.0f} TFLOP: about {hours:.2g} hours ({how})\n" + "\n".join(words),
    )


def _own(
    recipe: Recipe,
    student: float,
    teacher: float,
    rivals: float,
    teacher_bytes: int,
    clip_bytes: float,
) -> Load:
    """A network of the user's own in the place of the recipe's."""
    return Load(
        student=student,
        together=student / BLOCKS,
        clip_bytes=clip_bytes,
        batch=recipe.steps.batch,
        teachers=teacher,
        teacher_bytes=teacher_bytes,
        rivals=rivals,
    )


def _row(name: str, load: Load, devices: int, room: float) -> tuple[str, ...]:
    """A training's line of the table, in GiB on each device."""
    copied, sharded = ways(load, devices, room)
    holds = copied.held
    parts = (
        holds.weights,
        holds.gradients,
        holds.moments,
        holds.average,
        holds.rivals,
        holds.teachers,
        holds.activations,
        holds.total,
        sharded.held.total,
    )
    return (name, *(f"{part / GIB:.2f}" for part in parts))


def _told(load: Load, devices: int, room: float) -> dict[str, Any]:
    copied, sharded = ways(load, devices, room)
    return {"copied": asdict(copied), "sharded": asdict(sharded)}


def measured(sizes: set[str]) -> dict[str, float]:
    """GFLOP/s of training each size here, within a minute; without those too large for that."""
    from minuet.acts import BACKWARD, forward
    from minuet.trial import gigaflops

    found = {}
    for size in sorted(sizes):
        cost = BACKWARD * sum(forward(size).values())
        if cost / 1e9 / SLOWEST * 3 > MEASURE_SECONDS / len(sizes):
            continue
        speed = gigaflops(size, cost, MEASURE_SECONDS / len(sizes))
        if speed is not None:
            found[size] = speed
    return found
