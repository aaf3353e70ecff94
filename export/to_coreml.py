"""Program -> Core ML package for iOS 16 to 18, of one size or several; its hazards beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.files import read_json, write_json
from minuet.contracts.hazard import Hazard
from minuet.contracts.tensors import Signature
from minuet.export.capture import Program
from minuet.export.coreml_convert import convert, save
from minuet.export.coreml_flexible import check_shapes, check_systems, save_functions
from minuet.export.coreml_hazards import (
    compute_units,
    hazards,
    insist_units,
    modules_of,
    owned,
)
from minuet.export.coreml_weights import check_codes
from minuet.export.files import describe

if TYPE_CHECKING:
    from torch import Tensor

MACOS = {16: "13", 17: "14", 18: "15"}  # the release that came with an iOS
HAZARDS = "hazards.json"

# A package and an example of its inputs -> hazards that only values show.
Inspect = Callable[[Path, Mapping[str, "Tensor"]], tuple[Hazard, ...]]


def export_coreml(
    program: Program,
    bundle: Path,
    precision: str = "fp16",
    *,
    ios: int = 18,
    units: str = "",
    shapes: Mapping[str, Signature] | None = None,
    functions: Mapping[str, Program] | None = None,
    inspect: Inspect | None = None,
) -> Artifact:
    """Write bundle/coreml-<precision>/model.mlpackage, hazards.json and rewrites.json.

    Core ML has no uint8 outputs: frames leave as float32 of 0..255, to be truncated by the host
    as the program itself would. Scalars become tensors of one element.

    Args:
        program: static, or of free sizes where `shapes` are given (see coreml_flexible).
        bundle: the folder that gets the artifact's folder.
        precision: fp16 or fp32, of the arithmetic; palettes: fp16, and weights of few different
            numbers as codes and a table; int8-weights, int4-weights, palettes-int8: fp16, and
            weights that are codes times scales as those.
        ios: the oldest release that must open it: 16, 17 or 18. Newer ones have more operations,
            attention as one among them, and finer compressed weights.
        units: what the host will ask for, in Core ML's words; "": what fits the precision.
        shapes: other signatures of the same program that the package must take, by name.
        functions: the same network at other sizes, by name: a function each, on shared weights.
        inspect: finds more hazards by running the package.

    Raises:
        RequestError: an option that does not fit the others, or the converter refused; the
            operator and its module are named if it names one.
    """
    started = time.perf_counter()
    others = {**(shapes or {}), **(functions or {})}
    check_systems(ios, functions=bool(functions))
    check_codes(precision, ios)
    check_shapes(program.signature, list((shapes or {}).values()), ios)
    insist_units(units, precision)
    path = bundle / f"coreml-{precision}" / "model.mlpackage"
    model, form = convert(program, precision, ios, list((shapes or {}).values()))
    if functions:
        save_functions(model, functions, path, precision, ios)
    else:
        save(model, path)
    modules = modules_of(form.exported)
    found = hazards(path, modules)
    if inspect:
        given = zip(program.signature.inputs, program.inputs, strict=True)
        seen = inspect(path, {spec.name: value for spec, value in given})
        found += owned(seen, modules)
    write_json(path.with_name(HAZARDS), [asdict(one) for one in found])
    form.log.write_beside(path)
    return describe(
        bundle,
        target="coreml",
        precision=precision,
        entry=path,
        requires={"ios": str(ios), "macos": MACOS[ios], "frames": "float32 0..255"}
        | compute_units(found, precision, units)
        | ({"also": ", ".join(others)} if others else {})
        | ({"functions": ", ".join(functions)} if functions else {}),
        seconds=time.perf_counter() - started,
    )


def read_hazards(root: Path, artifact: Artifact) -> tuple[Hazard, ...]:
    """What was written beside a package; nothing for other targets."""
    listed = [file.path for file in artifact.files if file.path.endswith(f"/{HAZARDS}")]
    rows: list[dict[str, Any]] = read_json(root / listed[0]) if listed else []
    return tuple(Hazard(**row) for row in rows)
