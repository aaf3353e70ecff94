"""An artifact and golden cases -> one parity a runtime: on every runtime that is here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minuet.benchmarks.parity import difference, judge_worst, not_run
from minuet.contracts.artifact import Artifact, Parity
from minuet.contracts.errors import MinuetError, MissingBackendError, UntrustedError
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
        one = _trusting(runtime, trusted)
        parity = _parity(one, bundle, artifact, signature, cases, threads)
        unfit = parity.verdict == "fail" and one.name in SECOND_OPINIONS
        yield Proof(artifact=artifact.name, runtime=one.name, parity=parity, unfit=unfit)


def prove_rounded(
    artifact: Artifact, program: Any, signature: Signature, cases: Sequence[Golden]
) -> Iterator[Proof]:
    """What a narrow precision costs on hardware that computes in it, whatever runs here.

    Args:
        program: the exported program that the artifact holds.
    """
    from torch import from_numpy

    from minuet.benchmarks.parity_rounded import NAME, NARROW, judge_rounded

    if artifact.precision not in NARROW:
        return
    first = [from_numpy(np.array(cases[0].inputs[spec.name])) for spec in signature.inputs]
    parity = judge_rounded(artifact, program, [first])
    yield Proof(artifact=artifact.name, runtime=NAME, parity=parity)


def _trusting(runtime: Runtime, trusted: bool) -> Runtime:
    """An engine of another's is built anew on this machine, if nobody vouches for it."""
    if not isinstance(runtime, TensorRtRuntime):
        return runtime
    from minuet.export.to_tensorrt import rebuild

    return replace(runtime, trusted=trusted, rebuild=rebuild)


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
            runs = [(case.outputs, session.run(case.inputs)) for case in cases]
    except (MissingBackendError, UntrustedError) as error:  # only opening it could tell
        return not_run(runtime.name, str(error))
    except MinuetError as error:
        if runtime.name in SECOND_OPINIONS or runtime.name == "mil":
            return not_run(runtime.name, str(error))
        return Parity(verdict="fail", backend=runtime.name, reason=str(error))
    found = [difference(one[name], made[name]) for one, made in runs for name in one]
    return judge_worst(artifact, runtime.name, runtime.version(), found)
