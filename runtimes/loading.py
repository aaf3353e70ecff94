"""What the adapters share: is a library here, which version, and one message if opening fails."""

import contextlib
import importlib.util
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import DamagedError, MinuetError, Refusal, RequestError
from minuet.contracts.files import contained, sha256_of


def installed(module: str, extra: str) -> Refusal | None:
    """None where a module can be imported, else how to get it."""
    if importlib.util.find_spec(module):
        return None
    wanted = module if module == extra == "onnxruntime" else f"minuet[{extra}]"
    return Refusal(f"{module} is not installed; pip install '{wanted}'")


def library(*packages: str) -> str:
    """Name and version of the first package that is installed."""
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            return f"{package} {version(package)}"
    return packages[0]


def refuse_links(bundle: Path, artifact: Artifact) -> None:
    """Refuse a model beside which is a link that its manifest does not vouch for by SHA-256.

    A model may name any file of its folder as its weights. ONNX Runtime 1.31 and OpenVINO 2026.4
    refuse paths and symbolic links that lead out of the folder; through a hard link both read
    whatever it is. Copies by `cp -l`, and packages that uv or conda installed, are hard links too:
    those are what the manifest says.

    Raises:
        DamagedError: naming the link.
    """
    model = contained(bundle, artifact.entry)
    listed = {contained(bundle, file.path): file.sha256 for file in artifact.files}
    for file in sorted(model.parent.rglob("*")):
        if file == model or not _is_link(file):
            continue
        if file not in listed or not file.is_file() or sha256_of(file) != listed[file]:
            raise DamagedError(
                f"{file}: a link beside a model, which would be read as its weights, and not the "
                "file that the manifest describes; copy the bundle with "
                "`cp -rL --no-preserve=links`."
            )


def _is_link(file: Path) -> bool:
    return file.is_symlink() or (file.is_file() and file.stat().st_nlink > 1)


@contextlib.contextmanager
def opened(bundle: Path, artifact: Artifact, runtime: str) -> Iterator[Path]:
    """The path to open; a failure while it is being opened becomes one clear message."""
    path = contained(bundle, artifact.entry)
    try:
        yield path
    except MinuetError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise RequestError(
            f"{path}: {runtime} could not open it ({reason}). "
            "Run `minuet verify` on the bundle, or export it again."
        ) from error
