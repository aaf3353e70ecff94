"""The command line's words on Core ML -> an exporter's options; its hazards -> lines to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError

LATEST = 18  # iOS
HAZARDS_SAID = 8  # of one package; the others are in its hazards.json


def check(precisions: Sequence[str], *, ios: int, units: str, also: str, also_as: str) -> None:
    """Refuse what does not fit together before anything is read.

    Args:
        precisions: those that Core ML is asked for; none if it is not.

    Raises:
        RequestError: an option's value, or an option for a target that was not asked for.
    """
    given = {"--ios": ios != LATEST, "--units": units, "--also": also}
    if not precisions and (lost := [name for name, value in given.items() if value]):
        raise RequestError(f"{', '.join(lost)} is for Core ML; add coreml to --to.")
    if not precisions:
        return
    from minuet.export.coreml_flexible import check_systems
    from minuet.export.coreml_hazards import insist_units
    from minuet.export.coreml_weights import check_codes
    from minuet.sizes import WAYS

    if also_as not in WAYS:
        raise RequestError(f"--also-as {also_as!r} is not known; choose from {', '.join(WAYS)}.")
    check_systems(ios, functions=bool(also) and also_as == "functions")
    for precision in precisions:
        check_codes(precision, ios)
        insist_units(units, precision)


def options(precision: str, *, ios: int, units: str) -> dict[str, Any]:
    """For the exporter; what is computed in float16 is run in it once."""
    from minuet.runtimes.mil.ranges import value_hazards

    seen = {"inspect": value_hazards} if precision != "fp32" else {}
    return {"ios": ios, "units": units, **seen}


def lines(root: Path, artifact: Artifact) -> Iterator[str]:
    """Which units to ask for, and what is known to go wrong or slowly; nothing of other targets."""
    if artifact.target != "coreml":
        return
    from minuet.export.to_coreml import read_hazards

    found, needs = read_hazards(root, artifact), artifact.requires
    why = f" ({needs['units_why']})" if "units_why" in needs else ""
    missed = needs.get("off_neural_engine", "")
    off = f"; off the Neural Engine: {missed}" if missed else ""
    count = f"{len(found)} hazard{'' if len(found) == 1 else 's'}"
    yield f"  iOS {needs['ios']}, units {needs['units']}{why}{off}; {count}"
    yield from (f"  * {one}" for one in found[:HAZARDS_SAID])
    if len(found) > HAZARDS_SAID:
        yield f"  and {len(found) - HAZARDS_SAID} more in its hazards.json"
