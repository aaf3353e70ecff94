"""A student becomes a quantized student: the same weights, and what a target needs to shrink them.

The folder that is written is a student's folder with a few files more: recipe.json says which layer
becomes what, on how many clips and with which seed that was found, and the SHA-256 of the weights
and of ranges.safetensors, which holds the smallest and the largest activation of each call of each
layer ("<layer>@<call>.in" and ".out"; of palettes, nothing). search.json is what a search for
palettes measured. `minuet export` replays the recipe for every target.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from minuet.commands.common import Json, Out, Seed
from minuet.contracts.errors import RequestError
from minuet.presets import shipped_student

BITS, FLOOR_DB = 4.0, 30.0
CLIPS = {"int8": 32, "palettes": 4}
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
    scheme: Annotated[
        str, typer.Option(help="int8 (ONNX, ExecuTorch) or palettes (Core ML)")
    ] = "int8",
    clips: Annotated[
        int | None, typer.Option(help="stickers to measure on; none: 32, for palettes 4")
    ] = None,
    method: Annotated[str, typer.Option(help="int8: ranges by min-max or percentile")] = "min-max",
    share: Annotated[float, typer.Option(help="int8: of values that a percentile holds")] = 0.9999,
    keep_float: Annotated[
        str | None,
        typer.Option(help="int8: patterns of layers that stay as they are; none: our own"),
    ] = None,
    keep_activations: Annotated[
        str | None, typer.Option(help="int8: patterns of layers of which only weights shrink")
    ] = None,
    bits: Annotated[float, typer.Option(help="palettes: of a weight, in the mean")] = BITS,
    floor: Annotated[
        float, typer.Option(help="palettes: the least PSNR from the float student, in dB")
    ] = FLOOR_DB,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Calibrate a student and write it with the recipe that `minuet export` replays.

    The same student, seed and versions give the same bytes. A search for palettes that was
    interrupted goes on; where the best is below --floor nothing is written (exit code 1).
    """
    from minuet.quantize.calibrate import Method
    from minuet.quantize.recipe import check_scheme

    say = Out(json=json)
    check_scheme(scheme)
    ranges = {"--method": method != "min-max", "--share": share != 0.9999}
    ranges |= {"--keep-float": bool(keep_float), "--keep-activations": bool(keep_activations)}
    searched = {"--bits": bits != BITS, "--floor": floor != FLOOR_DB}
    others = ranges if scheme == "palettes" else searched
    if lost := [name for name, given in others.items() if given]:
        raise RequestError(f"{', '.join(lost)} says nothing to {scheme}; leave it out.")
    folder = student or shipped_student()
    check_place(out)
    clips = CLIPS[scheme] if clips is None else clips
    if scheme == "palettes":
        _palettes(folder, out, say, bits, floor, clips, seed)
    else:
        how = Method(name=method, share=share)
        _int8(folder, out, say, how, (keep_float, keep_activations), clips, seed)


def _int8(
    folder: Path,
    out: Path,
    say: Out,
    how: Any,
    patterns: tuple[str | None, str | None],
    clips: int,
    seed: int,
) -> None:
    """Ranges of every call, and which layers are worth it."""
    from minuet.models.student import load_student
    from minuet.quantize.calibrate import calibrate
    from minuet.quantize.layers import calls
    from minuet.quantize.recipe import Recipe, treatments

    whole = load_student(folder)
    with say.progress(f"capturing {folder}"):
        program = _captured(whole, seed)
    layers = list(dict.fromkeys(call.layer for call in calls(program)))
    floats = _patterns(patterns[0], KEEP_FLOAT, layers)
    halves = _patterns(patterns[1], KEEP_ACTIVATIONS, layers)
    found = treatments(layers, floats, halves)
    with _counted(say, whole, seed, clips) as inputs:
        ranges = calibrate(program, inputs, how)
    recipe = Recipe(
        scheme="int8",
        keep_float=floats,
        keep_activations=halves,
        layers=found,
        method=how,
        clips=clips,
        seed=seed,
        student_sha256=whole.sha256,
    )
    _write(folder, out, recipe, ranges)
    counts = Counter(found.values())
    say.finish(
        {"student": str(out), "scheme": "int8", "layers": dict(counts), "ranges": len(ranges)},
        f"{out}: {counts['int8']} layers in int8, {counts['weights']} with int8 weights, "
        f"{counts['float']} in float; {len(ranges)} ranges from {clips} clips. "
        f"Next: minuet export {out} --to onnx,executorch",
    )


def _palettes(
    folder: Path, out: Path, say: Out, bits: float, floor_db: float, clips: int, seed: int
) -> None:
    """The search, and a recipe of what it found."""
    from minuet.models.student import load_student
    from minuet.palettizing import Asked, search, write_search
    from minuet.quantize.calibrate import Method
    from minuet.quantize.layers import calls
    from minuet.quantize.recipe import Recipe

    asked, whole = Asked(bits=bits, floor_db=floor_db), load_student(folder)
    with say.progress(f"capturing {folder}"):
        program = _captured(whole, seed)
    layers = list(dict.fromkeys(call.layer for call in calls(program)))
    signature = whole.animator(SIZE).signature()
    inputs = list(calibration_inputs(whole, signature, seed, 2 * clips))
    notes = out.absolute().with_name(f".{out.name}.search")
    with say.progress("every layer under every palette", total=len(layers)) as step:
        seen, held = inputs[:clips], inputs[clips:]
        found, table = search(program, layers, seen, held, asked, notes, step)
    recipe = Recipe(
        scheme="palettes",
        keep_float=(),
        keep_activations=(),
        layers=found.layers,
        method=Method(),
        clips=clips,
        seed=seed,
        student_sha256=whole.sha256,
    )
    _write(folder, out, recipe, {}, lambda staging: write_search(staging, found, table))
    notes.unlink(missing_ok=True)
    say.table(("bits a weight", "predicted dB"), found.front)
    say.finish(
        {"student": str(out), "scheme": "palettes", **asdict(found)},
        f"{out}: {found.bits:.2f} bits a weight, {found.size / 1e6:.2f} MB of weights, "
        f"{found.measured_db:.1f} dB from the float student ({found.uniform_bits} bits for all: "
        f"{found.uniform_db:.1f} dB). Next: minuet export {out} --to coreml",
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


def _write(
    folder: Path, out: Path, recipe: Any, ranges: Any, more: Callable[[Path], None] | None = None
) -> None:
    """The student's own files, the recipe, the ranges, and what else: whole or not at all."""
    from minuet.contracts.files import write_bytes, write_folder
    from minuet.quantize.recipe import write_recipe

    with write_folder(out) as staging:
        for name in ("model.json", "weights.safetensors", "tokenizer.json", "card.md"):
            write_bytes(staging / name, (folder / name).read_bytes())
        write_recipe(staging, recipe, ranges)
        if more:
            more(staging)


def check_place(out: Path) -> None:
    """Refuse to replace anything but a quantized student."""
    from minuet.quantize.recipe import is_quantized

    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not is_quantized(out)):
        raise RequestError(f"{out}: exists and is not a quantized student; choose another place.")
