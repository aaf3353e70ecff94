"""What the adapters share: is a library here, which version, and one message if opening fails."""

import contextlib
import importlib.util
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import DamagedError, MinuetError, Refusal, RequestError
from minuet.contracts.files import contained


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


def refuse_links(path: Path) -> None:
    """Refuse a model among whose neighbours is a link: weights beside it could be anyone's file.

    ONNX Runtime 1.31 and OpenVINO 2026.4 refuse paths and symbolic links that lead out of the
    folder; through a hard link both read whatever it is.

    Raises:
        DamagedError: naming the link.
    """
    for file in sorted(path.parent.iterdir()):
        if file.is_symlink() or (file.is_file() and file.stat().st_nlink > 1):
            raise DamagedError(
                f"{file}: a link beside a model, which would be read as its weights; copy the "
                "bundle with `cp -rL --no-preserve=links`."
            )


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
