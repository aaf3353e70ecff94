"""A student becomes a quantized student: the same weights, and what a target needs to shrink them.

The folder that is written is a student's folder with a few files more: recipe.json says which layer
becomes what, and the SHA-256 of the weights and of the two files beside it: ranges.safetensors, the
smallest and the largest activation of each call of each layer ("<layer>@<call>.in" and ".out"), and
tensors.safetensors, what quantization changed of the parameters. search.json and search.svg are
what a search saw, weighed.json is what the result was measured to bring. `minuet export` replays
the recipe for every target.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minuet.commands.common import Json, Out, Seed, Threads
from minuet.contracts.errors import RequestError, VerdictError
from minuet.presets import shipped_student

if TYPE_CHECKING:
    from minuet.quantizing import Found
    from minuet.workpiece import Order

# Which options say something to which schemes; the others, to all.
FOR = {
    "--method": ("int8", "w8a16", "fp8"),
    "--share": ("int8", "w8a16", "fp8"),
    "--keep-activations": ("int8", "w8a16", "fp8"),
    "--most-bytes": ("int8",),
    "--bits": ("palettes", "palettes-int8"),
    "--recover": ("int8", "palettes"),
}


def quantize(
    student: Annotated[
        Path | None, typer.Argument(help="the student's folder; none: the shipped one")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="the folder to write")] = Path("q"),
    scheme: Annotated[
        str,
        typer.Option(
            help="int8, int8-weights, int4-weights, int8-dynamic, w8a16, fp8, palettes, "
            "palettes-int8; what each is good for: docs/quantize.md"
        ),
    ] = "int8",
    clips: Annotated[
        int | None, typer.Option(help="stickers to measure on; none: 32, for palettes 4")
    ] = None,
    method: Annotated[
        str, typer.Option(help="ranges by min-max, percentile, entropy or mse")
    ] = "min-max",
    share: Annotated[float, typer.Option(help="of values that a percentile holds")] = 0.9999,
    keep_float: Annotated[
        str | None,
        typer.Option(help="patterns of layers that stay as they are, instead of a search"),
    ] = None,
    keep_activations: Annotated[
        str | None, typer.Option(help="patterns of layers of which only weights shrink")
    ] = None,
    bits: Annotated[
        float | None, typer.Option(help="palettes: of a weight, in the mean; none: 4")
    ] = None,
    floor: Annotated[
        float | None,
        typer.Option(help="the least PSNR from the float student, in dB; none: the scheme's own"),
    ] = None,
    most_bytes: Annotated[
        float | None, typer.Option(help="int8: of the layers' weights in float32; none: 0.26")
    ] = None,
    recover: Annotated[
        int, typer.Option(min=0, help="steps of training against the float student")
    ] = 0,
    weigh: Annotated[
        bool, typer.Option(help="measure it beside its float parent before it is written")
    ] = True,
    to: Annotated[str, typer.Option(help="targets to weigh it on; none: the scheme's first")] = "",
    size: Annotated[
        int, typer.Option(min=16, help="of the stickers it is weighed on, in px")
    ] = 128,
    keep: Annotated[bool, typer.Option("--keep", help="write it even if it does not pay")] = False,
    threads: Threads = 0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Quantize a student, and write it if it is near enough, smaller, and faster where promised.

    Exit code 1 where it does not pay, with the table of what was measured. The same student, seed
    and versions give the same recipe, but for choices that hang on measured times. What was
    interrupted goes on.
    """
    from minuet.paying import check_targets
    from minuet.quantize.calibrate import Method
    from minuet.quantize.schemes import SCHEMES
    from minuet.quantizing import find
    from minuet.workpiece import BITS, SHARE, Order, clips_of

    say = Out(json=json)
    given = {
        "--method": method != "min-max",
        "--share": share != 0.9999,
        "--keep-activations": keep_activations is not None,
        "--most-bytes": most_bytes is not None,
        "--bits": bits is not None,
        "--recover": recover > 0,
    }
    check_given(scheme, [option for option, said in given.items() if said])
    targets = check_targets(to, scheme)
    check_place(out)
    order = Order(
        student=student or shipped_student(),
        out=out,
        scheme=scheme,
        clips=clips_of(scheme) if clips is None else clips,
        method=Method(name=method, share=share),
        keep_float=_patterns(keep_float),
        keep_activations=_patterns(keep_activations),
        bits=BITS if bits is None else bits,
        floor_db=SCHEMES[scheme].floor_db if floor is None else floor,
        share=SHARE if most_bytes is None else most_bytes,
        recover=recover,
        threads=threads,
        seed=seed,
    )
    found = find(order, say)
    weighing = (targets, size, keep) if weigh else None
    rows = write(order, found, weighing, say)
    say.finish(
        {"student": str(out), "scheme": scheme, "layers": found.recipe.layers, "weighed": rows},
        f"{out}: {found.told}. Next: minuet export {out} --to {targets[0]}",
    )


def check_given(scheme: str, options: Sequence[str]) -> None:
    """Refuse a scheme that is none, and options that say nothing to it."""
    from minuet.quantize.schemes import check_scheme

    check_scheme(scheme)
    if lost := [option for option in options if scheme not in FOR[option]]:
        raise RequestError(f"{', '.join(lost)} says nothing to {scheme}; leave it out.")


def write(
    order: "Order", found: "Found", weighing: tuple[tuple[str, ...], int, bool] | None, say: Out
) -> list[dict[str, Any]]:
    """The student's own files and all that was found, whole or not at all; what was weighed.

    Raises:
        VerdictError: it does not pay, and is not to be kept.
    """
    from minuet.contracts.files import write_bytes, write_folder, write_json
    from minuet.quantize.recipe import WEIGHED, write_recipe

    with write_folder(order.out) as staging:
        for name in ("model.json", "weights.safetensors", "tokenizer.json", "card.md"):
            write_bytes(staging / name, (order.student / name).read_bytes())
        write_recipe(staging, found.recipe, found.ranges, found.tensors)
        if found.search:
            write_json(staging / "search.json", found.search)
        if found.picture:
            write_bytes(staging / "search.svg", found.picture.encode())
        rows = _weighed(order, staging, weighing, say) if weighing else []
        if rows:
            told = {"scheme": order.scheme, "floor_db": order.floor_db, "weighed": rows}
            write_json(staging / WEIGHED, told)
    return rows


def _weighed(
    order: "Order", staging: Path, weighing: tuple[tuple[str, ...], int, bool], say: Out
) -> list[dict[str, Any]]:
    from minuet.models.student import load_student
    from minuet.paying import insist, weigh

    targets, size, keep = weighing
    found = weigh(staging, load_student(order.student), targets, size, order.floor_db, say)
    if (broken := insist(found, order.floor_db)) and not keep:
        raise VerdictError(
            f"{order.scheme} does not pay: {'; '.join(broken)}. Nothing was written; --keep "
            "writes it all the same."
        )
    return [one.to_json(order.floor_db) for one in found]


def _patterns(asked: str | None) -> tuple[str, ...] | None:
    if asked is None:
        return None
    return tuple(word.strip() for word in asked.split(",") if word.strip())


def check_place(out: Path) -> None:
    """Refuse to replace anything but a quantized student."""
    from minuet.quantize.recipe import is_quantized

    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not is_quantized(out)):
        raise RequestError(f"{out}: exists and is not a quantized student; choose another place.")
