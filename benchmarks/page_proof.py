"""Manifest and quality -> whether it is still the same model, and how good its stickers are."""

from collections.abc import Iterable, Sequence

from minuet.benchmarks.page_html import (
    NOTHING,
    Part,
    every,
    folded,
    listing,
    note,
    part,
    table,
    tag,
)
from minuet.benchmarks.page_trade import Quality
from minuet.benchmarks.page_words import UNKNOWN, aside, runtime_of
from minuet.benchmarks.quality import METRICS
from minuet.benchmarks.stats import Interval
from minuet.contracts.artifact import Artifact, Manifest, Parity

SIGNS = {"pass": ("pass", "✓"), "fail": ("fail", "✗")}
BETTER = {"higher": "higher is better", "lower": "lower is better", "one": "1 is the truth's own"}


def parity(manifest: Manifest | None) -> Part:
    """Is it still the same model? Artifacts by runtimes, and the reasons below."""
    artifacts = [
        artifact for artifact in (manifest.artifacts if manifest else ()) if artifact.parity
    ]
    if not artifacts:
        return NOTHING
    proofs = [proof for artifact in artifacts for proof in artifact.parity]
    ran = list(dict.fromkeys(runtime_of(p) for p in proofs if p.verdict != "not run"))
    rows = [_row(artifact, ran) for artifact in artifacts]
    reasons = [(name, reason) for artifact in artifacts for name, reason in _reasons(artifact)]
    return part(
        "Is it the same model?",
        table("Each artifact on each runtime against the original", ("", *ran), rows),
        note(_metrics(proofs)),
        note(*_not_run(artifacts)),
        folded("Why these tolerances", listing(reasons, "facts")) if reasons else None,
        lede=_verdict(proofs),
    )


def _verdict(proofs: Iterable[Parity]) -> str:
    counts = {word: sum(p.verdict == word for p in proofs) for word in ("pass", "fail", "not run")}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"Against the original: {told}."


def _row(artifact: Artifact, ran: Sequence[str]) -> list[object]:
    found = {runtime_of(proof): proof for proof in artifact.parity}
    return [artifact.name, *(_cell(found.get(name)) for name in ran)]


def _cell(proof: Parity | None) -> object:
    if proof is None:
        return UNKNOWN
    kind, sign = SIGNS.get(proof.verdict, ("soft", ""))
    if proof.value is None:
        return tag("span", f"{sign} {proof.verdict}".strip(), class_=kind)
    told = tag("span", f"{sign} {proof.value:.4g}", class_=kind)
    needs = None if proof.tolerance is None else aside(f"needs {proof.tolerance:.4g}")
    return every((told, " ", needs))


def _metrics(proofs: Iterable[Parity]) -> str:
    metrics = dict.fromkeys(proof.metric for proof in proofs if proof.metric)
    return f"Found, and what is needed: {'; '.join(metrics)}." if metrics else ""


def _not_run(artifacts: Iterable[Artifact]) -> list[str]:
    """What could not be proved here, each reason once."""
    reasons: dict[str, dict[str, None]] = {}
    for artifact in artifacts:
        for proof in artifact.parity:
            if proof.verdict == "not run":
                reasons.setdefault(proof.reason, {})[runtime_of(proof) or artifact.name] = None
    return [f"Not run: {', '.join(names)}: {reason}. " for reason, names in reasons.items()]


def _reasons(artifact: Artifact) -> list[tuple[str, str]]:
    return [
        (f"{artifact.name}, {proof.backend}", proof.reason)
        for proof in artifact.parity
        if proof.reason and proof.verdict != "not run"
    ]


def quality(found: Quality | None) -> Part:
    """How good the stickers are, by metric."""
    if not found:
        return NOTHING
    who = list(found)
    rows = [
        [
            every((tag("b", name.replace("_", " ")), " ", tag("span", metric.meaning))),
            *(_estimate(found[one].get(name)) for one in who),
            BETTER[metric.better],
        ]
        for name, metric in METRICS.items()
        if any(name in found[one] for one in who)
    ]
    last = len(who) + 1
    return part("Quality", table("Quality by metric", ("", *who, ""), rows, words=(last,)))


def _estimate(found: Interval | None) -> object:
    if found is None:
        return UNKNOWN
    return every((f"{found.value:.3g} ", aside(f"{found.low:.3g} to {found.high:.3g}")))
