"""What runtimes made of artifacts -> lines to read: who ran, and once who did not and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from minuet.contracts.artifact import Artifact

if TYPE_CHECKING:
    from minuet.proof import Proof

NOT_RUN = "not run"
Missed = dict[str, dict[str, list[str]]]  # reason -> runtime -> artifacts


def in_short(proofs: Iterable[Proof]) -> str:
    """The runtimes that ran, each with how near it came."""
    rows = (proof for proof in proofs if proof.parity.verdict != NOT_RUN)
    return "; ".join(map(_near, rows)) or "nothing here runs it"


def absent(artifacts: Sequence[Artifact]) -> Iterator[str]:
    """Each reason for which a runtime was not run, once, with the runtimes.

    Reasons that differ in one word, such as the name of a provider, are one.
    """
    met: dict[str, list[str]] = {}
    missed: Missed = {}
    for artifact in artifacts:
        for parity in artifact.parity:
            runtime = parity.backend.partition(":")[0]
            met.setdefault(runtime, []).append(artifact.name)
            if parity.verdict == NOT_RUN:
                names = missed.setdefault(parity.reason, {}).setdefault(runtime, [])
                names.append(artifact.name)
    for reasons in _alike(missed):
        runtimes = {name: places for one in reasons for name, places in missed[one].items()}
        who = [
            name if places == met[name] else f"{name} on {', '.join(places)}"
            for name, places in runtimes.items()
        ]
        yield f"not run: {', '.join(who)}: {_as_one(reasons)}"


def _alike(missed: Missed) -> Iterator[list[str]]:
    """Reasons of different runtimes that differ in the same one word, together."""
    groups: list[list[str]] = []
    for reason, runtimes in missed.items():
        for group in groups:
            strangers = not any(runtimes.keys() & missed[one].keys() for one in group)
            if strangers and _apart([*group, reason]) == 1:
                group.append(reason)
                break
        else:
            groups.append([reason])
    yield from groups


def _apart(reasons: Sequence[str]) -> int:
    """In how many words they are not all the same; more than can be told where one is longer."""
    rows = [_parts(one) for one in reasons]
    if len({len(row) for row in rows}) > 1:
        return max(map(len, rows))
    return sum(len(set(column)) > 1 for column in zip(*rows, strict=True))


def _as_one(reasons: Sequence[str]) -> str:
    columns = zip(*map(_parts, reasons), strict=True)
    return "".join(" or ".join(dict.fromkeys(column)) for column in columns)


def _parts(text: str) -> list[str]:
    """Words, and what is between them."""
    return re.findall(r"\w+|\W+", text)


def _near(proof: Proof) -> str:
    if proof.parity.value is None:
        return f"{proof.runtime} {proof.parity.verdict}: {proof.parity.reason}"
    return f"{proof.runtime} {proof.parity.value:.1f} dB"
