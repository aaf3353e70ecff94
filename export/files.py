"""Written files -> an artifact with its sizes and hashes."""

from pathlib import Path

from minuet.contracts.artifact import Artifact, FileEntry
from minuet.contracts.files import sha256_of


def file_entry(bundle: Path, path: Path) -> FileEntry:
    """Path relative to the bundle, bytes and hash of one file."""
    name = path.relative_to(bundle).as_posix()
    return FileEntry(path=name, bytes=path.stat().st_size, sha256=sha256_of(path))


def describe(
    bundle: Path,
    *,
    target: str,
    precision: str,
    entry: Path,
    requires: dict[str, str],
    seconds: float,
) -> Artifact:
    """The artifact whose files lie below bundle/<target>-<precision>."""
    folder = bundle / f"{target}-{precision}"
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return Artifact(
        target=target,
        precision=precision,
        entry=entry.relative_to(bundle).as_posix(),
        files=tuple(file_entry(bundle, path) for path in found),
        requires=requires,
        seconds=seconds,
    )
