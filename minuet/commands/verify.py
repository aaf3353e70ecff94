"""A bundle is shown to be whole and still the same model, on every runtime that is here."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from minuet.commands.common import Json, Out, Threads
from minuet.contracts.errors import MissingBackendError, RequestError, VerdictError

Trust = Annotated[bool, typer.Option("--trust-engines", help="run TensorRT engines: they are code")]


def verify(
    bundle: Annotated[Path, typer.Argument(help="the bundle's folder")],
    threads: Threads = 0,
    trust_engines: Trust = False,
    json: Json = False,
) -> None:
    """Check hashes, then golden frames on every runtime that is here.

    Exit code 0: all that could be run is the same model. 1: something is not. 2: the bundle is
    damaged. 4: nothing in it can be run here.
    """
    from minuet.export.bundle import load_bundle, read_golden
    from minuet.proof import Proof, prove

    out = Out(json=json)
    with out.progress(f"hashing {bundle}"):
        manifest = load_bundle(bundle)
        cases = {name: read_golden(bundle, manifest, name) for name in manifest.programs}
    if empty := [name for name, found in cases.items() if not found]:
        raise RequestError(
            f"{bundle}: holds no golden cases of {', '.join(empty)} to compare with; export again."
        )
    proofs: list[Proof] = []
    with out.progress("running golden cases", total=len(manifest.artifacts)) as step:
        for artifact in manifest.artifacts:
            name = artifact.component
            proofs += prove(
                bundle,
                artifact,
                manifest.programs[name],
                cases[name],
                threads=threads,
                trusted=trust_engines,
            )
            step(note=artifact.name)
    _tell(out, bundle, sum(map(len, cases.values())), proofs)


def _tell(out: Out, bundle: Path, cases: int, proofs: Sequence[Any]) -> None:
    failed = [proof for proof in proofs if proof.failed]
    passed = [proof for proof in proofs if proof.parity.verdict == "pass"]
    verdict = "fail" if failed else "pass" if passed else "not run"
    columns = ("artifact", "runtime", "verdict", "dB", "needed", "why")
    out.table(columns, [row(proof) for proof in proofs])
    out.finish(
        {"bundle": str(bundle), "cases": cases, "verdict": verdict, "proofs": _plain(proofs)},
        f"{bundle}: every file is as exported; {len(passed)} of {len(proofs)} comparisons passed, "
        f"{len(failed)} failed.",
    )
    if failed:
        names = ", ".join(f"{proof.artifact} on {proof.runtime}" for proof in failed)
        raise VerdictError(f"{bundle}: not the model that was exported: {names}.")
    if not passed:
        raise MissingBackendError(
            f"{bundle}: nothing in it can be run here; the reasons are above. "
            "pip install onnxruntime runs ONNX artifacts."
        )


def row(proof: Any) -> tuple[object, ...]:
    """One proof as a row of a table."""
    parity = proof.parity
    value = "" if parity.value is None else f"{parity.value:.1f}"
    needed = "" if parity.tolerance is None else f"{parity.tolerance:.0f}"
    verdict = "unfit" if proof.unfit else parity.verdict
    return proof.artifact, proof.runtime, verdict, value, needed, parity.reason


def _plain(proofs: Sequence[Any]) -> list[dict[str, Any]]:
    return [asdict(proof) | {"failed": proof.failed} for proof in proofs]
