"""What runtimes made of artifacts -> lines to read: who ran, and once who did not and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from minuet.contracts.artifact import Artifact

if TYPE_CHECKING:
    from minuet.proof import Proof

NOT_RUN = "not run"


def in_short(proofs: Iterable[Proof]) -> str:
    """The runtimes that ran, each with how near it came."""
    rows = (proof for proof in proofs if proof.parity.verdict != NOT_RUN)
    return "; ".join(map(_near, rows)) or "nothing here runs it"


def absent(artifacts: Sequence[Artifact]) -> Iterator[str]:
    """Each reason for which a runtime was not run, once, with the runtimes."""
    met: dict[str, list[str]] = {}
    missed: dict[str, dict[str, list[str]]] = {}
    for artifact in artifacts:
        for parity in artifact.parity:
            runtime = parity.backend.partition(":")[0]
            met.setdefault(runtime, []).append(artifact.name)
            if parity.verdict == NOT_RUN:
                names = missed.setdefault(parity.reason, {}).setdefault(runtime, [])
                names.append(artifact.name)
    for reason, runtimes in missed.items():
        who = [
            name if places == met[name] else f"{name} on {', '.join(places)}"
            for name, places in runtimes.items()
        ]
        yield f"not run: {', '.join(who)}: {reason}"


def _near(proof: Proof) -> str:
    if proof.parity.value is None:
        return f"{proof.runtime} {proof.parity.verdict}: {proof.parity.reason}"
    return f"{proof.runtime} {proof.parity.value:.1f} dB"
