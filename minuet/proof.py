"""An artifact and golden cases -> one parity a runtime: on every runtime that is here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.benchmarks.parity import METRIC, Difference, difference, furthest, judge, not_run
from minuet.benchmarks.tolerances import EASED_DB, LEAST_DB, NARROW, computed_in
from minuet.contracts.artifact import Artifact, Parity
from minuet.contracts.errors import (
    DamagedError,
    MinuetError,
    MissingBackendError,
    NotEvaluatedError,
    UntrustedError,
)
from minuet.contracts.runtime import Runtime
from minuet.contracts.tensors import Arrays, Signature
from minuet.export.bundle import Golden
from minuet.runtimes.table import runtimes_for
from minuet.runtimes.tensorrt import TensorRtRuntime

if TYPE_CHECKING:
    from minuet.export.capture import Program

# These open another library's file: where they disagree, the file may still be right, and only
# they are unfit for it. (An int8 file that is 26 dB from float32 elsewhere was 4 dB in one.)
SECOND_OPINIONS = frozenset({"openvino", "openvino-bf16"})
# These read the format themselves: where one finds the file damaged, that is its verdict.
READERS = frozenset({"mil"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A program that an artifact holds, with its golden cases."""

    name: str
    signature: Signature
    cases: Sequence[Golden]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One output of one case, and the verdict on it."""

    found: Difference
    parity: Parity


class Known:
    """A program at hand: its depth, and how noisy it is itself."""

    def __init__(self, name: str, program: Program) -> None:
        self.name, self.program = name, program
        self._own: dict[tuple[str, str], dict[str, float]] = {}

    @cached_property
    def depth(self) -> int:
        """Contractions one after another."""
        from minuet.benchmarks.parity_graph import depth

        return depth(self.program.exported)

    def own_db(self, case: Golden, arithmetic: str) -> dict[str, float]:
        """How far a case's outputs are from float64, which is computed once a case."""
        from minuet.benchmarks.parity_own import own_noise

        key = case.name, arithmetic
        if key not in self._own:
            exported, told = self.program.exported, self.program.signature
            rows = own_noise(exported, told, case.inputs, case.outputs, arithmetic)
            self._own[key] = {name: one.db for name, one in rows.items()}
        return self._own[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a runtime made of one golden case."""

    program: str
    case: Golden
    outputs: Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What one runtime made of one artifact."""

    artifact: str
    runtime: str
    parity: Parity  # of the output that is furthest from what is asked
    unfit: bool = False  # a second opinion that disagrees: not to be used for this file
    outputs: Mapping[str, Finding] = field(default_factory=dict)  # the worst case of each

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
    others: Sequence[Held] = (),
    threads: int = 0,
    trusted: bool = False,
    known: Known | None = None,
) -> Iterator[Proof]:
    """Run the golden cases on every runtime that opens the artifact; refusals are said.

    Args:
        others: what else the artifact is: the same network at other sizes. The worst is judged.
        trusted: whether engines, which are code, may run without a record of who built them.
        known: the program, where it is at hand; without it the artifact is asked for what it was
            asked for at the export.
    """
    held = (Held(name=artifact.component, signature=signature, cases=cases), *others)
    for runtime in runtimes_for(artifact.target):
        one = _trusting(runtime, trusted)
        made = _run(one, bundle, artifact, held, threads)
        if isinstance(made, Parity):
            yield _proof(artifact, one.name, made, {})
            continue
        outputs = _judged(artifact, one, made, known)
        worst = _recorded([row.parity for row in outputs.values()])
        yield _proof(artifact, one.name, worst, outputs)


def _recorded(parities: Sequence[Parity]) -> Parity:
    """The worst output; with the least that any was asked, since it will be asked of all."""
    worst = furthest(parities)
    if worst.verdict == "fail":
        return worst
    same = [row.tolerance for row in parities if row.metric == worst.metric]
    return replace(worst, tolerance=min(one for one in same if one is not None))


def _proof(
    artifact: Artifact, runtime: str, parity: Parity, outputs: Mapping[str, Finding]
) -> Proof:
    unfit = parity.verdict == "fail" and runtime in SECOND_OPINIONS
    return Proof(
        artifact=artifact.name, runtime=runtime, parity=parity, unfit=unfit, outputs=outputs
    )


def _judged(
    artifact: Artifact, runtime: Runtime, made: Sequence[Ran], known: Known | None
) -> dict[str, Finding]:
    """The worst case of each output; the table first, the reference's own noise if that fails."""
    rows: dict[str, list[Finding]] = {}
    for ran in made:
        for name, expected in ran.case.outputs.items():
            found = difference(expected, ran.outputs[name])
            output = name if ran.program == artifact.component else f"{ran.program} {name}"
            parity = _verdict(artifact, runtime, ran, name, found, known)
            rows.setdefault(output, []).append(Finding(found=found, parity=parity))
    return {output: _worst(found) for output, found in rows.items()}


def _verdict(
    artifact: Artifact,
    runtime: Runtime,
    ran: Ran,
    output: str,
    found: Difference,
    known: Known | None,
) -> Parity:
    told = artifact, runtime.name, runtime.version(), found
    if known is None:
        recorded = recorded_db(artifact, runtime.name, found.metric)
        return judge(*told, recorded_db=recorded)
    parity = judge(*told, depth=known.depth)
    arithmetic = computed_in(artifact.target, artifact.precision, runtime.name)
    if parity.verdict == "pass" or not _may_be_noise(arithmetic, parity, found):
        return parity
    if ran.program != known.name:  # the same network at another size
        return parity
    return judge(*told, depth=known.depth, own_db=known.own_db(ran.case, arithmetic)[output])


def _worst(rows: Sequence[Finding]) -> Finding:
    parity = furthest(row.parity for row in rows)
    return next(row for row in rows if row.parity is parity)


def _may_be_noise(arithmetic: str, refused: Parity, found: Difference) -> bool:
    """Whether it is worth asking the program: not beyond any excuse."""
    if found.fault or arithmetic not in ("fp32", *NARROW):
        return False
    narrow = (refused.tolerance or 0.0) - EASED_DB
    return found.db >= (LEAST_DB[found.metric] if arithmetic == "fp32" else narrow)


def recorded_db(artifact: Artifact, runtime: str, metric: str) -> float | None:
    """What the manifest says was asked of the artifact in this arithmetic; the least of several."""
    target, precision = artifact.target, artifact.precision
    arithmetic = computed_in(target, precision, runtime)
    asked = [
        row.tolerance
        for row in artifact.parity
        if row.verdict == "pass" and row.tolerance is not None and row.metric == METRIC[metric]
        if computed_in(target, precision, row.backend.partition(":")[0]) == arithmetic
    ]
    return min(asked, default=None)


def prove_rounded(
    artifact: Artifact, program: Any, signature: Signature, cases: Sequence[Golden]
) -> Iterator[Proof]:
    """What a narrow precision costs on hardware that computes in it, whatever runs here.

    Args:
        program: the exported program that the artifact holds.
    """
    from torch import from_numpy

    from minuet.benchmarks.parity_rounded import NAME, judge_rounded

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


def _run(
    runtime: Runtime, bundle: Path, artifact: Artifact, held: Sequence[Held], threads: int
) -> list[Ran] | Parity:
    """What the runtime gives for each case, or why there is nothing to compare.

    Raises:
        DamagedError: what lies beside the artifact is not what the manifest says.
    """
    if refusal := runtime.available():
        return not_run(runtime.name, refusal.reason)
    made = []
    try:
        for one in held:
            row = replace(artifact, component=one.name)
            with runtime.open(bundle, row, one.signature, threads=threads) as session:
                for case in one.cases:
                    made.append(Ran(program=one.name, case=case, outputs=session.run(case.inputs)))
    except (MissingBackendError, UntrustedError, NotEvaluatedError) as error:
        return not_run(runtime.name, str(error))  # only opening it could tell
    except DamagedError as error:
        if runtime.name not in READERS:
            raise
        return _broken(runtime, error)
    except MinuetError as error:
        if runtime.name in SECOND_OPINIONS:
            return not_run(runtime.name, str(error))
        return _broken(runtime, error)
    except MemoryError:
        raise
    except Exception as error:  # a library, while it runs
        return _broken(runtime, error)
    return made


def _broken(runtime: Runtime, error: Exception) -> Parity:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return Parity(verdict="fail", backend=f"{runtime.name}: {runtime.version()}", reason=reason)
