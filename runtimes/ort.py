"""ONNX file -> frames, by ONNX Runtime: on the CPU, all that a base install needs, or elsewhere.

ONNX Runtime hands an operator that a provider does not take to the CPU, and a provider whose
libraries are missing is left out with a warning. Both are found out here: where nothing runs on
the provider that was asked for, it was not run.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import MissingBackendError, Refusal
from minuet.contracts.files import contained, read_json
from minuet.contracts.stages import KEY, StageTimes
from minuet.contracts.tensors import Arrays, Signature
from minuet.runtimes.loading import installed, library, opened, refuse_links
from minuet.runtimes.onnx_weights import weights
from minuet.runtimes.ort_profile import runs_of
from minuet.runtimes.watched import stage_times, table_of

CPU = "CPUExecutionProvider"
RECORD = "session.record_ep_graph_assignment_info"  # who runs what; from onnxruntime 1.24 on
PROFILE_BYTES = 256 << 20  # 0.7 MB a run of a sticker student
# Short names; any other is taken as ONNX Runtime's own, without "ExecutionProvider".
PROVIDERS = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}


@dataclass(frozen=True, slots=True)
class OrtSession:
    """An opened ONNX file."""

    session: Any
    signature: Signature
    placement: dict[str, int] = field(default_factory=dict)  # provider -> operators it runs

    def run(self, inputs: Arrays) -> Arrays:
        """One call."""
        self.signature.check_inputs(inputs)
        names = [spec.name for spec in self.signature.outputs]
        return dict(zip(names, self.session.run(names, dict(inputs)), strict=True))


@dataclass(frozen=True, slots=True)
class OrtRuntime:
    """ONNX Runtime with one provider, and the CPU for what that leaves."""

    name: str = "ort"
    targets: tuple[str, ...] = ("onnx",)
    provider: str = "cpu"
    options: Mapping[str, str] = field(default_factory=dict, hash=False)  # of the provider

    def available(self) -> Refusal | None:
        if refusal := installed("onnxruntime", "onnxruntime"):
            return refusal
        import onnxruntime as ort

        found = ort.get_available_providers()
        if self._provider() in found:
            return None
        return Refusal(
            f"this onnxruntime has no {self._provider()}, only {', '.join(sorted(found))}; "
            "another build of it has (onnxruntime-gpu, or one for macOS)"
        )

    def version(self) -> str:
        """The library, and where it is not the CPU the provider with its options."""
        told = " ".join(f"{key}={self.options[key]}" for key in sorted(self.options))
        where = "" if self.provider == "cpu" else f"{self.provider} {told}"
        return f"{library('onnxruntime', 'onnxruntime-gpu')} {where}".strip()

    @contextmanager
    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> Iterator[OrtSession]:
        """Load a file.

        Raises:
            MissingBackendError: the provider is not here, takes no operator of this file, or
                lacks the kernels for its precision.
        """
        with self._session(bundle, artifact, threads) as (session, placement):
            yield OrtSession(session, signature, placement)

    def stages(
        self,
        bundle: Path,
        artifact: Artifact,
        signature: Signature,
        inputs: Arrays,
        *,
        runs: int,
        threads: int = 0,
    ) -> StageTimes:
        """What ONNX Runtime's profiler tells of operators, and their sums stage by stage."""
        with (
            tempfile.TemporaryDirectory(prefix="minuet-profile-") as folder,
            self._session(bundle, artifact, threads, profile=f"{folder}/run") as (session, _),
        ):
            table = table_of(session.get_modelmeta().custom_metadata_map.get(KEY), artifact.entry)
            for _ in range(1 + runs):
                OrtSession(session, signature).run(inputs)
            events = read_json(Path(session.end_profiling()), PROFILE_BYTES)
        told = runs_of(events, weights(contained(bundle, artifact.entry)))
        return stage_times(told[1:], table)

    @contextmanager
    def _session(
        self, bundle: Path, artifact: Artifact, threads: int, profile: str = ""
    ) -> Iterator[tuple[Any, dict[str, int]]]:
        if refusal := self.available():
            raise MissingBackendError(f"{self.name}: {refusal.reason}; not run.")
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        if profile:
            options.enable_profiling, options.profile_file_prefix = True, profile
        options.log_severity_level = 3
        options.add_session_config_entry(RECORD, "1")
        asked = self._provider()
        order = [(asked, dict(self.options)), *([] if asked == CPU else [(CPU, {})])]
        refuse_links(bundle, artifact)
        with opened(bundle, artifact, self.version()) as path:
            try:
                session = ort.InferenceSession(str(path), options, providers=order)
            except ort.capi.onnxruntime_pybind11_state.NotImplemented as error:
                raise MissingBackendError(f"{self.name}: {_kernels(artifact, error)}") from error
            placement = placement_of(session)
            if refusal := stood_in(session, asked, placement):
                raise MissingBackendError(f"{self.name}: {refusal.reason}; not run.")
        yield session, placement

    def _provider(self) -> str:
        return PROVIDERS.get(self.provider, f"{self.provider}ExecutionProvider")


def placement_of(session: Any) -> dict[str, int]:
    """How many operators each provider runs; empty where ONNX Runtime cannot tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] += len(part.get_nodes())
    return dict(counts)


def stood_in(session: Any, asked: str, placement: Mapping[str, int]) -> Refusal | None:
    """Why a session is not on the provider that was asked for; None where it is."""
    if asked not in session.get_providers():
        return Refusal(f"{asked} did not load, and {CPU} silently took its place")
    if placement and not placement.get(asked):
        took = ", ".join(f"{name} {count}" for name, count in sorted(placement.items()))
        return Refusal(f"{asked} took no operator of this file ({took})")
    return None


def _kernels(artifact: Artifact, error: Exception) -> str:
    """What is not implemented, in short."""
    said = str(error).rpartition("NOT_IMPLEMENTED : ")[2].splitlines()[0][:200]
    advice = "; OpenVINO and TensorRT have bfloat16" if artifact.precision == "bf16" else ""
    return f"no kernel for {artifact.name} ({said}){advice}; not run."


CUDA = OrtRuntime(name="ort-cuda", provider="cuda")
TENSORRT = OrtRuntime(name="ort-tensorrt", provider="tensorrt")
COREML = OrtRuntime(name="ort-coreml", provider="coreml")
