"""A bundle is shown to be whole and still the same model, on every runtime that is here."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from minuet.commands.common import Json, Out, Threads
from minuet.contracts.errors import MissingBackendError, Refusal, RequestError, VerdictError

Trust = Annotated[bool, typer.Option("--trust-engines", help="run TensorRT engines: they are code")]


def verify(
    bundle: Annotated[Path, typer.Argument(help="the bundle's folder")],
    source: Annotated[
        str | None,
        typer.Option(help="what it was made from, e.g. student/: names the layer that differs"),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="each component, each step and the way there as well")
    ] = False,
    threads: Threads = 0,
    trust_engines: Trust = False,
    json: Json = False,
) -> None:
    """Check hashes, then golden frames on every runtime that is here, side by side.

    With --deep also what happens inside, against the source in float64: every component fed what
    the source's would be fed, every step from the source's state, and the program left to itself.
    Without --source, that is the student that comes with the package.

    Exit code 0: all that could be run is the same model. 1: something is not. 2: the bundle is
    damaged, or with --source its golden cases are not the source's. 4: nothing in it can be run
    here.
    """
    from minuet.compared import Compared, report
    from minuet.export.bundle import load_bundle, read_golden
    from minuet.origin import read_origin
    from minuet.presets import shipped_student

    out = Out(json=json)
    with out.progress(f"hashing {bundle}"):
        manifest = load_bundle(bundle)
        cases = {name: read_golden(bundle, manifest, name) for name in manifest.programs}
    if empty := [name for name, found in cases.items() if not found]:
        raise RequestError(
            f"{bundle}: holds no golden cases of {', '.join(empty)} to compare with; export again."
        )
    origin = None
    if source or deep:
        word = source or str(shipped_student())
        with out.progress(f"reading {word}"):
            origin = read_origin(manifest, word)
    rows: list[Compared] = []
    with out.progress("running golden cases", total=len(manifest.artifacts)) as step:
        for artifact in manifest.artifacts:
            program = origin.program(artifact) if origin else Refusal("--source was not given")
            if origin:
                origin.check(artifact.component, cases[artifact.component])
            proofs = list(
                _proofs(bundle, manifest, artifact, cases, program, threads, trust_engines)
            )
            rows += _looked_at(bundle, manifest, artifact, cases, program, proofs, deep)
            step(note=artifact.name)
    table = report(manifest.name, rows)
    _tell(out, bundle, sum(map(len, cases.values())), rows, table)


def _proofs(
    bundle: Path,
    manifest: Any,
    artifact: Any,
    cases: Any,
    program: Any,
    threads: int,
    trusted: bool,
) -> Iterator[Any]:
    """What each runtime makes of the golden cases."""
    from minuet.proof import Held, Known, prove

    first, *others = (
        Held(name=name, signature=manifest.programs[name], cases=cases[name])
        for name in artifact.programs
    )
    return prove(
        bundle,
        artifact,
        first.signature,
        first.cases,
        others=others,
        threads=threads,
        trusted=trusted,
        known=None if isinstance(program, Refusal) else Known(artifact.component, program),
    )


def _looked_at(
    bundle: Path,
    manifest: Any,
    artifact: Any,
    cases: Any,
    program: Any,
    proofs: Sequence[Any],
    deep: bool,
) -> Iterator[Any]:
    """Each proof with what is inside: the first layer that differs, and every view if asked."""
    from minuet.compared import Compared
    from minuet.divergence import where_it_diverges

    known = not isinstance(program, Refusal)
    inputs = [case.inputs for case in cases[artifact.component]]
    views = _views(program, inputs[0]) if known and deep else None
    where = ""
    if known and any(proof.failed for proof in proofs):
        where = where_it_diverges(program, bundle, artifact, inputs)
    for proof in proofs:
        inside, unseen = ((), str(program)) if deep and not known else ((), "")
        if views and proof.outputs:
            inside, unseen = _inside(views, bundle, artifact, proof.runtime)
        yield Compared(
            artifact=artifact,
            signature=manifest.programs[artifact.component],
            proof=proof,
            inside=inside,
            unseen=unseen,
            divergence=where if proof.failed else "",
        )


def _views(program: Any, inputs: Any) -> Any:
    from minuet.views import Views

    return Views(program, inputs)


def _inside(views: Any, bundle: Path, artifact: Any, runtime: str) -> tuple[tuple[Any, ...], str]:
    """Every view on one runtime, or why there is none."""
    from minuet.runtimes.table import runtimes_for

    one = next(row for row in runtimes_for(artifact.target) if row.name == runtime)
    try:
        return tuple(views.of(bundle, artifact, one)), ""
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # an exporter or a library, on a part of the program
        return (), (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _tell(out: Out, bundle: Path, cases: int, rows: Sequence[Any], table: Any) -> None:
    from minuet.benchmarks import parity_report

    proofs = [row.proof for row in rows]
    failed = [proof for proof in proofs if proof.failed]
    passed = [proof for proof in proofs if proof.parity.verdict == "pass"]
    bad = bool(failed or table.failures)
    out.table(*parity_report.table(table))
    for note in parity_report.notes(table):
        out.say(note)
    out.finish(
        {
            "bundle": str(bundle),
            "cases": cases,
            "verdict": "fail" if bad else "pass" if passed else "not run",
            "proofs": [_plain(proof) for proof in proofs],
            "report": table.to_json(),
        },
        f"{bundle}: every file is as exported; {len(passed)} of {len(proofs)} comparisons passed, "
        f"{len(failed)} failed{_inner(table)}.",
    )
    if bad:
        raise VerdictError(_verdict(bundle, failed, rows, table))
    if not passed:
        raise MissingBackendError(
            f"{bundle}: nothing in it can be run here; the reasons are above. "
            "pip install onnxruntime runs ONNX artifacts."
        )


def _inner(table: Any) -> str:
    """How many values inside are another model's, though what comes out may not be."""
    from minuet.benchmarks.parity_trajectory import FINAL

    inside = sum(row.scope != FINAL for row, _, _ in table.failures)
    return f"; {inside} values inside failed" if inside else ""


def _verdict(bundle: Path, failed: Sequence[Any], rows: Sequence[Any], table: Any) -> str:
    """Which artifact is another model, and where it begins if that is known."""
    if not failed:
        row, column, _ = table.failures[0]
        return f"{bundle}: another model inside: {column.name}, first in {row.name}."
    names = ", ".join(f"{proof.artifact} on {proof.runtime}" for proof in failed)
    known = dict.fromkeys(row.divergence for row in rows if row.divergence)
    where = " ".join(known) or "--source MODEL names the first layer that differs."
    return f"{bundle}: not the model that was exported: {names}. {where}"


def _plain(proof: Any) -> dict[str, Any]:
    return {
        "artifact": proof.artifact,
        "runtime": proof.runtime,
        "parity": asdict(proof.parity),
        "unfit": proof.unfit,
        "failed": proof.failed,
    }
