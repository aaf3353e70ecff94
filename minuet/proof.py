"""An artifact and golden cases -> one parity a runtime: on every runtime that is here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from minuet.benchmarks.parity import Difference, difference, judge, not_run, worst_of
from minuet.contracts.artifact import Artifact, Parity
from minuet.contracts.errors import MinuetError
from minuet.contracts.runtime import Runtime
from minuet.contracts.tensors import Signature
from minuet.export.bundle import Golden
from minuet.runtimes.table import runtimes_for
from minuet.runtimes.tensorrt import TensorRtRuntime

# These open another library's file: where they disagree, the file may still be right, and only
# they are unfit for it. (An int8 file that is 26 dB from float32 elsewhere was 4 dB in one.)
SECOND_OPINIONS = frozenset({"openvino", "openvino-bf16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What one runtime made of one artifact."""

    artifact: str
    runtime: str
    parity: Parity
    unfit: bool = False  # a second opinion that disagrees: not to be used for this file

    @property
    def failed(self) -> bool:
        """Whether the artifact itself is in doubt."""
        return self.parity.verdict == "fail" and not self.unfit


def prove(
    bundle: Path,
    artifact: Artifact,
    signature: Signature,
    cases: Sequence[Golden],
    *,
    threads: int = 0,
    trusted: bool = False,
) -> Iterator[Proof]:
    """Run the golden cases on every runtime that opens the artifact; refusals are said.

    Args:
        trusted: whether engines, which are code, may run.
    """
    for runtime in runtimes_for(artifact.target):
        one = replace(runtime, trusted=trusted) if isinstance(runtime, TensorRtRuntime) else runtime
        parity = _parity(one, bundle, artifact, signature, cases, threads)
        unfit = parity.verdict == "fail" and one.name in SECOND_OPINIONS
        yield Proof(artifact=artifact.name, runtime=one.name, parity=parity, unfit=unfit)


def _parity(
    runtime: Runtime,
    bundle: Path,
    artifact: Artifact,
    signature: Signature,
    cases: Sequence[Golden],
    threads: int,
) -> Parity:
    if refusal := runtime.available():
        return not_run(runtime.name, refusal.reason)
    try:
        with runtime.open(bundle, artifact, signature, threads=threads) as session:
            found = [_worst(case, dict(session.run(case.inputs))) for case in cases]
    except MinuetError as error:
        if runtime.name in SECOND_OPINIONS or runtime.name == "mil":
            return not_run(runtime.name, str(error))
        return Parity(verdict="fail", backend=runtime.name, reason=str(error))
    return judge(artifact, runtime.name, runtime.version(), worst_of(found))


def _worst(case: Golden, outputs: dict[str, object]) -> Difference:
    from typing import Any, cast

    pairs = [(case.outputs[name], cast(Any, outputs[name])) for name in case.outputs]
    return worst_of([difference(expected, found) for expected, found in pairs])
