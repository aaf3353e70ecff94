"""An exported file and the bundle that an app ships: the manifest, its schema, its proofs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from minuet.contracts.errors import DamagedError
from minuet.contracts.tensors import Signature

SCHEMA = 1  # raised when an older minuet could misread a bundle
TARGETS = ("onnx", "executorch", "coreml", "tensorrt")
PRECISIONS = ("fp32", "fp16", "int8")
VERDICTS = ("pass", "fail", "not run")


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
    """One target in one precision."""

    target: str
    precision: str
    entry: str  # the file or folder that a runtime opens, relative to the bundle
    files: tuple[FileEntry, ...]
    requires: dict[str, str]  # what the consumer needs, e.g. {"opset": "18", "ios": "18"}
    parity: tuple[Parity, ...] = ()  # one a runtime
    seconds: float = 0.0  # what the export took

    @property
    def name(self) -> str:
        """target-precision, the folder's name too."""
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
    signature: Signature
    sampler: dict[str, Any]
    artifacts: tuple[Artifact, ...]
    files: tuple[FileEntry, ...]  # tokenizer.json, card.md, golden/...
    minuet: str  # the version that wrote it
    student_sha256: str
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """A plain value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, where: str) -> "Manifest":
        """The reverse of to_json.

        Raises:
            DamagedError: not a manifest, or a newer schema.
        """
        if not isinstance(value, Mapping):
            raise DamagedError(f"{where}: not a bundle manifest.")
        rows = cast(Mapping[str, Any], value)
        schema = rows.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise DamagedError(
                f"{where}: written by a newer minuet (schema {schema}, this one reads {SCHEMA}); "
                "upgrade minuet."
            )
        try:
            if type(schema) is not int:
                raise ValueError(f"schema {schema!r}")
            fields: dict[str, Any] = {name: rows[name] for name in cls.__dataclass_fields__}
            fields["signature"] = Signature.from_json(rows["signature"])
            fields["files"] = _files(rows["files"])
            fields["artifacts"] = tuple(_artifact(row) for row in rows["artifacts"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"{where}: damaged manifest ({error!r}); export again.") from error


def _files(rows: Any) -> tuple[FileEntry, ...]:
    return tuple(FileEntry(**row) for row in rows)


def _artifact(row: Mapping[str, Any]) -> Artifact:
    fields = dict(row)
    fields["files"] = _files(row["files"])
    fields["parity"] = tuple(Parity(**parity) for parity in row["parity"])
    return Artifact(**fields)
