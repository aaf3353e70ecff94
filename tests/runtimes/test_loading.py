"""A link beside a model is opened only where the manifest vouches for what it leads to."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import DamagedError
from minuet.export.files import describe
from minuet.runtimes.loading import refuse_links


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle/onnx-fp32/model.onnx"
    (path.parent / "weights").mkdir(parents=True)
    path.write_bytes(b"model")
    path.with_name("model.onnx.data").write_bytes(b"weights")
    (path.parent / "weights/a.bin").write_bytes(b"more")
    return tmp_path / "bundle"


@pytest.fixture
def artifact(bundle: Path) -> Artifact:
    entry = bundle / "onnx-fp32/model.onnx"
    return describe(bundle, target="onnx", precision="fp32", entry=entry, requires={}, seconds=0)


NAMES = ["onnx-fp32/model.onnx.data", "onnx-fp32/weights/a.bin"]


def test_a_bundle_of_hard_links_is_opened(bundle: Path, artifact: Artifact) -> None:
    """As `cp -rl` makes it, and uv and conda out of their caches."""
    for name in [artifact.entry, *NAMES]:
        os.link(bundle / name, bundle.parent / Path(name).name)
    refuse_links(bundle, artifact)


@pytest.mark.parametrize("name", NAMES)
def test_a_hard_link_that_the_manifest_does_not_list_is_refused(
    bundle: Path, artifact: Artifact, name: str
) -> None:
    os.link(bundle / name, bundle.parent / "secret")
    fewer = tuple(file for file in artifact.files if file.path != name)
    with pytest.raises(DamagedError, match=rf"{name}: a link beside a model"):
        refuse_links(bundle, replace(artifact, files=fewer))


@pytest.mark.parametrize("name", NAMES)
def test_a_link_to_another_file_than_the_listed_one_is_refused(
    bundle: Path, artifact: Artifact, name: str
) -> None:
    (bundle.parent / "secret").write_bytes(b"another's")
    for link in (os.link, os.symlink):
        (bundle / name).unlink()
        link(bundle.parent / "secret", bundle / name)
        with pytest.raises(DamagedError, match=r"leaves its folder|a link beside a model"):
            refuse_links(bundle, artifact)
