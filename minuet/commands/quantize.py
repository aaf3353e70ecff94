"""A student becomes a quantized student: the same weights, and what a target needs to shrink them.

The folder that is written is a student's folder with two files more: recipe.json says which layer
becomes what, on how many clips and with which seed that was calibrated, and the SHA-256 of the
weights and of ranges.safetensors, which holds the smallest and the largest activation of each call
of each layer ("<layer>@<call>.in" and ".out"). `minuet export` replays both for every target.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from minuet.commands.common import Json, Out, Seed
from minuet.contracts.errors import RequestError
from minuet.presets import shipped_student

# The network works at one size whatever the sticker's, so its ranges hold for every output size.
SIZE = 128
# What costs most quality for its bytes, found layer by layer on the pocket student: noise on these
# is noise on part masks, joints, motions and gates, which moves whole limbs. And the layers of the
# noise level: their input is a constant, and openvino 2026.4 cannot compile packed weights beside
# one. Students are of several kinds: a pattern that names nothing in one of them is passed over.
KEEP_FLOAT = (
    *("network.out", "network.shuffle", "network.script.out"),
    *("network.finder.out", "network.finder.shuffle", "network.anatomy.*"),
    *("network.motions.whole", "network.motions.told.2"),
    *("network.fine_*.conv_*", "network.fine_*.mix", "network.fine_*.skip", "network.level.*"),
)
# What gains no time in int8 (one vector a frame), and the layers whose activations reach furthest.
KEEP_ACTIVATIONS = (
    *("network.mix.*", "network.words", "network.script.*", "network.motions.*", "*.film"),
    *("network.up", "network.coarse_*.conv_out"),
)


def quantize(
    student: Annotated[
        Path | None, typer.Argument(help="the student's folder; none: the shipped one")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="the folder to write")] = Path("q"),
    scheme: Annotated[str, typer.Option(help="a row of the table of schemes: int8")] = "int8",
    clips: Annotated[int, typer.Option(help="stickers of the world to calibrate on")] = 32,
    method: Annotated[str, typer.Option(help="ranges by min-max or percentile")] = "min-max",
    share: Annotated[float, typer.Option(help="of values that a percentile holds")] = 0.9999,
    keep_float: Annotated[
        str | None, typer.Option(help="patterns of layers that stay as they are; none: our own")
    ] = None,
    keep_activations: Annotated[
        str | None, typer.Option(help="patterns of layers of which only weights shrink")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Calibrate a student and write it with the recipe that `minuet export` replays.

    The same student, seed and versions give the same bytes.
    """
    from minuet.models.student import load_student
    from minuet.quantize.calibrate import Method, calibrate
    from minuet.quantize.layers import calls
    from minuet.quantize.recipe import Recipe, check_scheme, treatments

    say = Out(json=json)
    check_scheme(scheme)
    how = Method(name=method, share=share)
    folder = student or shipped_student()
    check_place(out)
    whole = load_student(folder)
    with say.progress(f"capturing {folder}"):
        program = _captured(whole, seed)
    layers = list(dict.fromkeys(call.layer for call in calls(program)))
    floats = _patterns(keep_float, KEEP_FLOAT, layers)
    halves = _patterns(keep_activations, KEEP_ACTIVATIONS, layers)
    found = treatments(layers, floats, halves)
    with _counted(say, whole, seed, clips) as inputs:
        ranges = calibrate(program, inputs, how)
    recipe = Recipe(
        scheme=scheme,
        keep_float=floats,
        keep_activations=halves,
        layers=found,
        method=how,
        clips=clips,
        seed=seed,
        student_sha256=whole.sha256,
    )
    recipe = _write(folder, out, recipe, ranges)
    counts = Counter(found.values())
    say.finish(
        {"student": str(out), "scheme": scheme, "layers": dict(counts), "ranges": len(ranges)},
        f"{out}: {counts['int8']} layers in int8, {counts['weights']} with int8 weights, "
        f"{counts['float']} in float; {len(ranges)} ranges from {clips} clips. "
        f"Next: minuet export {out} --to onnx,executorch",
    )


def calibration_inputs(student: Any, signature: Any, seed: int, clips: int) -> Iterator[Any]:
    """Training stickers with captions and noise, by address: the same seed, the same bytes."""
    from minuet.sources import golden_inputs

    for at in range(clips):
        yield golden_inputs(student, signature, seed, at, "train")


@contextmanager
def _counted(say: Out, student: Any, seed: int, clips: int) -> Generator[Iterator[Any]]:
    """Calibration inputs under a progress bar."""
    signature = student.animator(SIZE).signature()
    with say.progress("calibrating", total=clips) as step:

        def drawn() -> Iterator[Any]:
            for inputs in calibration_inputs(student, signature, seed, clips):
                yield inputs
                step()

        yield drawn()


def _captured(student: Any, seed: int) -> Any:
    """The student's program, with its parameters by name."""
    from minuet.export.capture import capture

    animator = student.animator(SIZE)
    signature = animator.signature()
    first = next(calibration_inputs(student, signature, seed, 1))
    return capture(animator, first, signature).exported.module()


def _patterns(asked: str | None, own: Sequence[str], layers: Sequence[str]) -> tuple[str, ...]:
    """The patterns that were asked for; else those of our own that fit this family of networks."""
    from fnmatch import filter as matching

    if asked is None:
        return tuple(pattern for pattern in own if matching(layers, pattern))
    return tuple(word.strip() for word in asked.split(",") if word.strip())


def _write(folder: Path, out: Path, recipe: Any, ranges: Any) -> Any:
    """The student's own files, the recipe and the ranges: whole or not at all."""
    from minuet.contracts.files import write_bytes, write_folder
    from minuet.quantize.recipe import write_recipe

    with write_folder(out) as staging:
        for name in ("model.json", "weights.safetensors", "tokenizer.json", "card.md"):
            write_bytes(staging / name, (folder / name).read_bytes())
        return write_recipe(staging, recipe, ranges)


def check_place(out: Path) -> None:
    """Refuse to replace anything but a quantized student."""
    from minuet.quantize.recipe import is_quantized

    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not is_quantized(out)):
        raise RequestError(f"{out}: exists and is not a quantized student; choose another place.")
