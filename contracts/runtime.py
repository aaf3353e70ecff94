"""What a benchmark, a verifier or an animation may ask of a runtime."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import Refusal
from minuet.contracts.stages import StageTimes
from minuet.contracts.tensors import Arrays, Signature


class Session(Protocol):
    """An opened artifact."""

    def run(self, inputs: Arrays) -> Arrays:
        """One call: named arrays in, named arrays out, as the signature says."""
        ...


class Runtime(Protocol):
    """Anything that can run an artifact. Nothing touches a device before `with`."""

    name: str
    targets: tuple[str, ...]  # the artifact targets it opens

    def available(self) -> Refusal | None:
        """None where this runtime can run here, else why not."""
        ...

    def version(self) -> str:
        """Name and version of the library that does the work."""
        ...

    def open(
        self, bundle: Path, artifact: Artifact, signature: Signature, *, threads: int = 0
    ) -> AbstractContextManager[Session]:
        """Claim what is needed and load; threads 0 means as many as the machine has cores."""
        ...


class Watcher(Protocol):
    """A runtime that can say what each stage took."""

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
        """Open once more, under watch, and run: slower than a session that nobody watches.

        Raises:
            RequestError: the artifact says nothing of its stages.
        """
        ...
