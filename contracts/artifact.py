"""An exported file and the bundle that an app ships: the manifest, its schema, its proofs.

A reader refuses fields that it does not know: every new field raises the schema. A reader takes
every schema up to its own, for ever.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.records import record
from minuet.contracts.tensors import Signature

SCHEMA = 3  # raised with every new field and every change of meaning
TARGETS = ("onnx", "executorch", "coreml", "tensorrt")
FLOATS = ("fp32", "fp16", "bf16")
QUANTIZED = (
    *("int8", "int8-weights", "int4-weights", "int8-dynamic"),
    *("w8a16", "fp8", "palettes", "palettes-int8"),
)
PRECISIONS = (*FLOATS, *QUANTIZED)
VERDICTS = ("pass", "fail", "not run")
MAIN = "main"  # the program of a bundle that has one; its files lie in no folder of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of a bundle, as it must be found."""

    path: str  # relative, posix
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Whether an artifact is still the same model, on which evidence."""

    verdict: str  # pass, fail, not run
    backend: str = ""  # the library and version that really ran it
    metric: str = ""
    value: float | None = None
    tolerance: float | None = None
    reason: str = ""  # why the tolerance, or why it was not run

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is not one of {VERDICTS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One program for one target in one precision."""

    target: str
    precision: str
    entry: str  # the file or folder that a runtime opens, relative to the bundle
    files: tuple[FileEntry, ...]
    requires: dict[str, str]  # what the consumer needs, e.g. {"opset": "18", "ios": "18"}
    parity: tuple[Parity, ...] = ()  # one a runtime
    seconds: float = 0.0  # what the export took
    component: str = MAIN  # which of the manifest's programs
    key: str = ""  # hash of program, options and versions: the same key, the same file

    @property
    def name(self) -> str:
        """target-precision[/component], the folder's name too."""
        return self.folder if self.component == MAIN else f"{self.folder}/{self.component}"

    @property
    def programs(self) -> tuple[str, ...]:
        """Which of the manifest's programs it is: its component, and the same at other sizes."""
        also = self.requires.get("also", "")
        return (self.component, *filter(None, also.split(", ")))

    @property
    def folder(self) -> str:
        """target-precision: where every program of that kind lies."""
        return f"{self.target}-{self.precision}"

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an app may rely on."""

    name: str
    family: str
    programs: dict[str, Signature]  # by component; one is called "main" if there is one
    sampler: dict[str, Any]
    artifacts: tuple[Artifact, ...]
    files: tuple[FileEntry, ...]  # tokenizer.json, card.md, golden/...
    minuet: str  # the version that wrote it
    source_sha256: str  # of the weights that it was made from
    quantization: dict[str, Any] = field(
        default_factory=dict[str, Any]
    )  # what it was weighed to bring
    schema: int = SCHEMA

    @property
    def signature(self) -> Signature:
        """The signature of a bundle that is one program.

        Raises:
            RequestError: it holds components, and no program that does the whole work.
        """
        if MAIN in self.programs:
            return self.programs[MAIN]
        raise RequestError(
            f"{self.name}: holds the components {', '.join(sorted(self.programs))}, not one "
            "program that does it all; `minuet verify` takes it, or export with --fused."
        )

    def to_json(self) -> dict[str, Any]:
        """A plain value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, where: str) -> "Manifest":
        """The reverse of to_json; older schemas become the present one.

        Raises:
            DamagedError: not a manifest, a newer schema, or a field of another kind, named.
        """
        if not isinstance(value, Mapping):
            raise DamagedError(f"{where}: not a bundle manifest.")
        rows = cast(Mapping[str, Any], value)
        schema = rows.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise DamagedError(
                f"{where}: written by a newer minuet (schema {schema!s:.20}, this one reads "
                f"{SCHEMA}); upgrade minuet."
            )
        try:
            if type(schema) is not int or schema < 1:
                raise ValueError(f"schema {schema!r:.40}")
            for older in range(schema, SCHEMA):
                rows = _UPGRADES[older](rows)
            found: Manifest = record(cls, dict(rows) | {"schema": SCHEMA})
        except ValueError as error:
            raise DamagedError(f"{where}: damaged manifest ({error}); export again.") from error
        return found


def _from_1(value: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 1 knew one program, and only students."""
    rows = dict(value)
    rows["programs"] = {MAIN: rows.pop("signature", None)}
    rows["source_sha256"] = rows.pop("student_sha256", None)
    return rows


_UPGRADES: dict[int, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    1: _from_1,
    2: dict,  # which did not say what a quantization had brought
}
