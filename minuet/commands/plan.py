"""A recipe becomes the list of what it would do and cost, without doing any of it."""

import functools
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from minuet.commands.common import Json, Out
from minuet.contracts.recipe import Recipe, Stage
from minuet.presets import preset_names, read_recipe

PRESETS = ", ".join(preset_names())

BACKWARD = 3  # a training step costs about three forward passes: one forward, two backward
SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One stage of a recipe."""

    stage: str
    network: str
    clips: int  # seen in training, drawn, or made
    teraflop: float  # 0: drawn, not computed
    what: str


def plan(
    recipe: Annotated[str, typer.Argument(help=f"a YAML file, or one of: {PRESETS}")],
    gflops: Annotated[
        float, typer.Option(min=1.0, max=1e9, help="effective GFLOP/s of training on this machine")
    ] = 90.0,
    json: Json = False,
) -> None:
    """Say what a recipe would do and what it costs; nothing is run and nothing is written.

    The default speed was measured on one core with AVX-512 and bfloat16, teacher size; hours are
    an estimate from it.
    """
    out = Out(json=json)
    acts = acts_of(read_recipe(recipe))
    rows = [(act.stage, act.network, act.clips, round(act.teraflop, 1), act.what) for act in acts]
    out.table(("stage", "network", "clips", "TFLOP", "what happens"), rows)
    teraflop = sum(act.teraflop for act in acts)
    hours = teraflop * 1000 / gflops / SECONDS_AN_HOUR
    out.finish(
        {"acts": [asdict(act) for act in acts], "teraflop": teraflop, "estimated_hours": hours},
        f"\n{teraflop:.0f} TFLOP: about {hours:.2g} hours at {gflops:g} GFLOP/s (estimated)",
    )


def acts_of(recipe: Recipe) -> list[Act]:
    """The stages of a recipe in order."""
    drawn = Act(
        stage="world", network="", clips=recipe.clips, teraflop=0.0, what="stickers are drawn"
    )
    base = [_training("base", recipe.base, "learns the world")] if recipe.base else []
    teachers = [
        _training(f"teachers/{name}", stage, "a teacher finds its taste")
        for name, stage in recipe.teachers.items()
    ]
    drafts = [
        _training(f"drafts/{name}", stage, "the student begins")
        for name, stage in recipe.drafts.items()
    ]
    few = len(recipe.steps.levels) - 1
    answer = f"{few} step{'s' * (few > 1)}"
    tuned = Stage(size=recipe.student.size, clips=recipe.steps.clips)
    return [
        drawn,
        *base,
        *teachers,
        _asking(recipe),
        *drafts,
        _training("student", recipe.student, "learns the world"),
        _training("steps", tuned, f"learns from the kept clips, in {answer} of one pass"),
    ]


def _training(name: str, stage: Stage, what: str) -> Act:
    from minuet.distill.study import BATCH

    cost = forward(stage.size)
    stills = stage.study * BATCH * cost["encode"]
    flop = stage.clips * (cost["step"] + cost["encode"]) + stills
    teraflop = BACKWARD * flop / 1e12
    return Act(stage=name, network=stage.size, clips=stage.clips, teraflop=teraflop, what=what)


def _asking(recipe: Recipe) -> Act:
    """Every teacher animates every sticker; the judge keeps the best."""
    ensemble = recipe.ensemble
    passes = 1 if ensemble.guidance == 1 else 2
    flop = sum(
        ensemble.stickers * passes * (ensemble.steps * cost["step"] + cost["encode"])
        for cost in (forward(stage.size) for stage in recipe.teachers.values())
    )
    return Act(
        stage="kept",
        network="",
        clips=ensemble.stickers * len(recipe.teachers),
        teraflop=flop / 1e12,
        what="every teacher animates every sticker; the judge keeps the best",
    )


@functools.cache
def forward(size: str) -> dict[str, float]:
    """FLOP of one forward pass for one clip: reading the sticker, and a step.

    Counted on the meta device, which computes nothing.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from minuet.contracts.errors import RequestError
    from minuet.models.denoiser import SIZES, Denoiser

    if size not in SIZES:
        raise RequestError(f"size {size!r} is not one of {sorted(SIZES)}.")
    config = SIZES[size]
    found: dict[str, Any] = {}
    with torch.device("meta"):
        network = Denoiser(config)
        sticker = torch.zeros(1, config.channels, config.side, config.side)
        tokens = torch.zeros(1, config.tokens, dtype=torch.int32)
        noisy = torch.zeros(1, config.frames, config.channels, config.side, config.side)
        with FlopCounterMode(display=False) as counter:
            context = network.encode(sticker, tokens)
        found["encode"] = float(counter.get_total_flops())
        with FlopCounterMode(display=False) as counter:
            film = network.conditioning(torch.ones(1), context)
            network.features(noisy, film, sticker, context)
        found["step"] = float(counter.get_total_flops())
    return found
