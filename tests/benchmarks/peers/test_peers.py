"""Peers draw the clip that the student's own program draws, or say why they do not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minuet.benchmarks.peers import runtimes
from minuet.benchmarks.peers.loop import HostLoop, pooled
from minuet.benchmarks.peers.parts import modules
from minuet.benchmarks.peers.prepare import ONNX, REFUSED, names_of, prepare
from minuet.contracts.artifact import Artifact
from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Arrays
from minuet.models.animator import example_of, signature_of
from minuet.models.student import Sampler, Student, load_student, save_student
from minuet.stickers import captions
from tests.models.tiny import denoiser

SIDE = 128
SHARP = 45.0  # dB, premultiplied: two orders of rounding of one picture


def student(*levels: float) -> Student:
    network = denoiser().eval()
    sampler = Sampler(levels=levels)
    return Student(network=network, sampler=sampler, tokenizer=captions.tokenizer_json(), card="")


def inputs(one: Student) -> Arrays:
    given = example_of(one.network.config, SIDE, 3)
    return {n: v.numpy() for n, v in zip(("image", "tokens", "noise"), given, strict=True)}


def in_torch(one: Student) -> HostLoop:
    """The loop around modules that nothing exported."""

    def run(module: Any, names: list[str]) -> Any:
        def asked(given: Any) -> list[Any]:
            rows = [torch.from_numpy(np.asarray(given[name])) for name in names]
            with torch.no_grad():
                found = module(*rows)
            return [x.numpy() for x in (found if isinstance(found, tuple) else (found,))]

        return asked

    parts = {name: run(module, names_of(name)) for name, (module, _) in modules(one, SIDE).items()}
    return HostLoop(parts, one.sampler.levels, one.network.config.side)


def near(frames: Any, wanted: Any) -> float:
    """PSNR in dB of what is seen."""
    both = [np.asarray(one, np.float64) / 255 for one in (frames, wanted)]
    seen = [np.concatenate([one[:, :3] * one[:, 3:], one[:, 3:]], axis=1) for one in both]
    return -10 * float(np.log10(((seen[0] - seen[1]) ** 2).mean() + 1e-12))


@pytest.mark.parametrize("levels", [(1.0, 0.0), (1.0, 0.7, 0.3, 0.0)])
def test_the_loop_on_the_host_takes_the_steps_of_the_program(levels: tuple[float, ...]) -> None:
    one = student(*levels)
    given = inputs(one)
    wanted = one.animator(SIDE)(*map(torch.from_numpy, given.values())).detach().numpy()
    assert near(in_torch(one).run(given)["frames"], wanted) > SHARP


def test_a_loop_that_forgets_a_step_is_told_apart() -> None:
    one = student(1.0, 0.7, 0.3, 0.0)
    given = inputs(one)
    whole, short = in_torch(one), replace(in_torch(one), levels=(1.0, 0.0))
    assert near(whole.run(given)["frames"], short.run(given)["frames"]) < SHARP


def test_squares_are_averaged() -> None:
    image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert pooled(image, 2)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]


@pytest.mark.slow
def test_every_peer_that_is_here_draws_the_same_clip(tmp_path: Path) -> None:
    save_student(student(1.0, 0.5, 0.0), tmp_path / "student")
    manifest = prepare(tmp_path / "student", SIDE, tmp_path / "peers")
    read = load_student(tmp_path / "student")
    given = inputs(read)
    with torch.no_grad():
        wanted = read.animator(SIDE)(*(torch.from_numpy(x) for x in given.values())).numpy()
    # ExecuTorch 1.4.1's own lowering of this network fails when it is run, which is its result.
    for name in ("EAGER", "ORT", "OPENVINO"):
        peer: runtimes.Peer = getattr(runtimes, name)
        artifact = next(one for one in manifest.artifacts if one.target in peer.targets)
        assert peer.available() is None and artifact.size > 0, artifact.requires
        with peer.open(tmp_path / "peers", artifact, manifest.signature, threads=1) as session:
            assert near(session.run(given)["frames"], wanted) > SHARP, name


def test_a_peer_whose_own_export_failed_says_so(tmp_path: Path) -> None:
    failed = Artifact(
        target=ONNX,
        precision="fp32",
        entry=f"{ONNX}-fp32",
        files=(),
        requires={REFUSED: "TypeError: no such operator"},
    )
    signature = signature_of(student(1.0, 0.0).network.config, SIDE)
    with (
        pytest.raises(RequestError, match="its own export failed: TypeError: no such operator"),
        runtimes.ORT.open(tmp_path, failed, signature),
    ):
        pass


def test_a_peer_that_is_not_installed_is_refused_by_name() -> None:
    absent = runtimes.Peer("other", "no-such-library", (ONNX,), runtimes.ort)
    assert "no-such-library is not installed" in str(absent.available())
    armless = runtimes.Peer("other", "torch", (ONNX,), runtimes.ort, needs=("no-such-program",))
    assert "needs no-such-program" in str(armless.available())
