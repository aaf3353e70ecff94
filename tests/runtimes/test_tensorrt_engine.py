"""Only bytes that this user built, or vouches for, ever reach TensorRT."""

from dataclasses import replace
from pathlib import Path

import pytest

from minuet.contracts.artifact import Artifact, FileEntry
from minuet.contracts.engine import Library, remember
from minuet.contracts.errors import DamagedError, MissingBackendError, UntrustedError
from minuet.contracts.files import sha256_of
from minuet.runtimes.tensorrt import TensorRtRuntime, device
from minuet.runtimes.tensorrt_engine import Trust, trusted_engine
from tests.standin import signature

ENTRY, MODEL = "tensorrt-fp16/model.engine", "tensorrt-fp16/model.onnx"
ENGINE = b"built elsewhere"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def library() -> Library:
    return Library(name="tensorrt_rtx", version="1.7", trt=None)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    files = []
    for name, data in ((ENTRY, ENGINE), (MODEL, b"model")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        files.append(FileEntry(path=name, bytes=len(data), sha256=sha256_of(path)))
    return Artifact(
        target="tensorrt", precision="fp16", entry=ENTRY, files=tuple(files), requires={}
    )


def test_an_engine_of_unknown_origin_is_refused(
    tmp_path: Path, artifact: Artifact, library: Library
) -> None:
    with pytest.raises(UntrustedError, match=r"is code that .* no record .* --trust-engines"):
        trusted_engine(tmp_path, artifact, library, "SM86", Trust())


def test_ones_own_engine_is_opened(tmp_path: Path, artifact: Artifact, library: Library) -> None:
    remember(ENGINE, library, ("SM86",))
    assert trusted_engine(tmp_path, artifact, library, "SM86", Trust()) == ENGINE


def test_explicit_trust_opens_anothers(
    tmp_path: Path, artifact: Artifact, library: Library
) -> None:
    found = trusted_engine(tmp_path, artifact, library, "SM86", Trust(explicit=True))
    assert found == ENGINE


@pytest.mark.parametrize("device", ["SM86", "SM89"])
def test_anothers_engine_is_rebuilt_from_its_model(
    tmp_path: Path, artifact: Artifact, library: Library, device: str
) -> None:
    """Also one's own, where it was built for another GPU."""
    if device == "SM89":
        remember(ENGINE, library, ("SM86",))

    def rebuild(model: Path, wanted: str) -> bytes:
        return model.read_bytes() + wanted.encode()

    found = trusted_engine(tmp_path, artifact, library, device, Trust(rebuild=rebuild))
    assert found == b"model" + device.encode()


def claiming(artifact: Artifact, **changes: str) -> Artifact:
    told = {"library": "tensorrt_rtx", "version": "1.7", "gpu": "SM86 SM89"}
    return replace(artifact, requires=told | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gpu": "SM86"}, r"built for SM86, and this GPU is SM90"),
        ({"version": "1.6", "gpu": "SM90"}, r"built by tensorrt_rtx 1.6, not by tensorrt_rtx 1.7"),
    ],
)
@pytest.mark.parametrize("recorded", [False, True])
def test_trust_does_not_make_an_engine_fit(
    tmp_path: Path,
    artifact: Artifact,
    library: Library,
    changes: dict[str, str],
    reason: str,
    recorded: bool,
) -> None:
    """As at an export for another GPU than this machine's."""
    theirs = claiming(artifact, **changes)
    if recorded:
        built = replace(library, version=theirs.requires["version"])
        remember(ENGINE, built, theirs.requires["gpu"].split())
    with pytest.raises(MissingBackendError, match=f"not run: .*{reason}"):
        trusted_engine(tmp_path, theirs, library, "SM90", Trust(explicit=True))
    trust = Trust(explicit=True, rebuild=lambda model, device: device.encode())
    assert trusted_engine(tmp_path, theirs, library, "SM90", trust) == b"SM90"


def test_explicit_trust_opens_anothers_that_fits(
    tmp_path: Path, artifact: Artifact, library: Library
) -> None:
    trust = Trust(explicit=True)
    assert trusted_engine(tmp_path, claiming(artifact), library, "SM89", trust) == ENGINE


@pytest.mark.parametrize(("name", "explicit"), [(ENTRY, True), (ENTRY, False), (MODEL, False)])
def test_trust_does_not_cover_files_that_changed(
    tmp_path: Path, artifact: Artifact, library: Library, name: str, explicit: bool
) -> None:
    (tmp_path / name).write_bytes(b"tampered with!!")
    trust = Trust(explicit=explicit, rebuild=lambda model, device: model.read_bytes())
    with pytest.raises(DamagedError, match="not the file that the manifest describes"):
        trusted_engine(tmp_path, artifact, library, "SM86", trust)


def test_an_engine_that_is_not_listed_is_refused(
    tmp_path: Path, artifact: Artifact, library: Library
) -> None:
    with pytest.raises(DamagedError, match="not the file"):
        trusted_engine(tmp_path, replace(artifact, files=()), library, "SM86", Trust(explicit=True))


@pytest.mark.parametrize("entry", ["../model.engine", "/etc/passwd", "tensorrt-fp16/link.engine"])
def test_an_engine_outside_the_bundle_is_refused(
    tmp_path: Path, artifact: Artifact, library: Library, entry: str
) -> None:
    (tmp_path / "tensorrt-fp16/link.engine").symlink_to("/etc/passwd")
    with pytest.raises(DamagedError, match=r"points outside|leaves its folder"):
        trusted_engine(
            tmp_path, replace(artifact, entry=entry), library, "SM86", Trust(explicit=True)
        )


@pytest.mark.skipif(bool(device()), reason="there is a GPU")
def test_ones_own_engine_is_not_run_without_a_gpu(tmp_path: Path, artifact: Artifact) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    from minuet.contracts.engine import installed_library

    remember(ENGINE, installed_library(), ("SM86",))
    with pytest.raises(MissingBackendError, match="not run: no NVIDIA GPU"):
        with TensorRtRuntime().open(tmp_path, artifact, signature(64)):
            pass
