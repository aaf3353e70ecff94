"""Several processes take the steps of one, and what one wrote others go on from."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minuet.contracts.errors import DamagedError, MissingBackendError, RequestError
from minuet.distill import scale
from minuet.distill.few import consistency
from minuet.distill.few.consistency import Consistency
from minuet.distill.path import generator
from minuet.distill.scale import Alone, fleet, placed, rows, share
from minuet.distill.tune import StopRule, tune
from tests.distill.fleets import PLAIN, ROOT, go, launched, made
from tests.distill.squares import draw, squares
from tests.models.tiny import denoiser

STEPS = 6
ROUNDING = 1e-5  # of a loss: the same sums in another order, and contiguous convolutions
# Of a weight, whose gradient may be nothing but rounding: a quarter of a step of Adam's.
WEIGHT = 3e-4


def losses(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["losses"] for line in lines]


def close(one: Path, two: Path) -> None:
    """The reports are the same to rounding, and so is the average network at the end."""
    for here, there in zip(losses(one), losses(two), strict=True):
        assert here == pytest.approx(there, abs=ROUNDING)
    ends = [load_file(folder / "average.safetensors") for folder in (one, two)]
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], rtol=0, atol=WEIGHT)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A contest of one process, its batches in two shares."""
    folder = tmp_path_factory.mktemp("alone")
    launched(folder, 1, "--duels", "--shares", "2", f"--steps={STEPS}")
    return folder


@pytest.mark.slow
def test_copies_and_shards_take_the_steps_of_one_and_go_on_from_each_other(
    alone: Path, tmp_path: Path
) -> None:
    told = "--duels", f"--steps={STEPS}"
    launched(tmp_path, 2, *told, "--until=1", sharded=True)
    index = json.loads((tmp_path / "checkpoint.json").read_text())
    assert index["about"]["step"] == "2" and len(index["parts"]) == 2
    launched(tmp_path, 2, *told, "--until=2")
    assert [path.name for path in tmp_path.glob("checkpoint*")] == ["checkpoint.safetensors"]
    launched(tmp_path, 2, *told, sharded=True)
    close(alone, tmp_path)
    one = made(tmp_path, STEPS, duels=True)
    assert one.resume() and one.step == STEPS  # a process alone, from both parts
    ends = load_file(tmp_path / "average.safetensors")
    assert all(torch.equal(value, ends[name]) for name, value in one.average.state_dict().items())
    part = max(tmp_path.glob("checkpoint-*.safetensors"))
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    with pytest.raises(DamagedError, match=r"-00001-of-00002.* is not what was written.* remove"):
        made(tmp_path, STEPS, duels=True).resume()
    part.unlink()
    with pytest.raises(DamagedError, match="cannot go on from it"):
        made(tmp_path, STEPS, duels=True).resume()


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    folders = whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-m", "tests.distill.fleets", str(killed)]
    command += ["--steps=16", "--duels", "--save-seconds=0"]
    seed = random.randrange(10**6)
    print("seed", seed)  # of a moment that breaks it
    rng, ends = random.Random(seed), []
    for _ in range(2):
        process = subprocess.Popen(command, cwd=ROOT)
        before = _written(killed)
        while process.poll() is None and _written(killed) == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        ends.append(process.wait())
    assert -signal.SIGKILL in ends
    ones = [made(folder, 16, duels=True, save_seconds=0.0) for folder in folders]
    for one in ones:
        go(one)
    states = [one.average.state_dict() for one in ones]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert losses(whole) == losses(killed)


def _written(folder: Path) -> float:
    path = folder / "checkpoint.safetensors"
    return path.stat().st_mtime if path.exists() else 0.0


def test_shares_are_whole_and_do_not_overlap() -> None:
    for count, world in [(10, 3), (3, 8), (0, 2), (12, 1), (97, 13)]:
        parts = [share(count, rank, world) for rank in range(world)]
        assert [one for part in parts for one in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_rows_are_those_of_chunk() -> None:
    for length, world in [(10, 4), (3, 8), (8, 2), (1, 2), (5, 4)]:
        value = torch.arange(length)
        chunks = [part.tolist() for part in value.chunk(world)] + [[]] * world
        for rank in range(world):
            first, last = rows(value, rank, world)
            assert value[first:last].tolist() == chunks[rank]


def test_the_first_share_of_a_step_draws_what_the_step_drew() -> None:
    one, two = generator(7, 11), generator(7, 11, 0, 0)
    assert torch.equal(torch.rand(4, generator=one), torch.rand(4, generator=two))
    other = generator(7, 11, 1, 0)
    assert not torch.equal(
        torch.rand(4, generator=generator(7, 11)), torch.rand(4, generator=other)
    )


def test_shares_are_part_of_the_run(tmp_path: Path) -> None:
    one = made(tmp_path, 2, shares=2)
    go(one)
    two = made(tmp_path, 2)
    assert two.resume() and two.shares == 2


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a batch of 4 cannot be cut into 3 equal shares"):
        made(tmp_path, 2, shares=3)


def test_a_run_is_refused_on_processes_that_cannot_divide_its_shares(tmp_path: Path) -> None:
    one = made(tmp_path, 2)
    one.on = Alone()
    one.on.world = 2
    with pytest.raises(RequestError, match="3 shares here, which 2 processes cannot divide"):
        one._set_shares(3)


def test_what_asks_the_average_while_it_trains_is_refused_on_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = Alone()
    monkeypatch.setattr(on, "sharded", True)
    monkeypatch.setattr(consistency, "fleet", lambda: on)
    teacher = denoiser()
    with pytest.raises(RequestError, match=r"consistency distillation .* shards"):
        Consistency(teacher=teacher, average=teacher, levels=(1.0, 0.5, 0.0))
    one = made(tmp_path, 2)
    one.on = on
    with pytest.raises(RequestError, match=r"quality tuning .* shards"):
        tune(one, PLAIN, draw, StopRule(every=1, fall=0.0), lambda network: 0.0)


def test_a_launch_without_accelerate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    fleet.cache_clear()
    with pytest.raises(MissingBackendError, match=r"pip install 'minuet\[distill\]'"):
        fleet()
    fleet.cache_clear()


def test_one_process_asks_nothing_of_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in scale.LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    fleet.cache_clear()
    assert isinstance(fleet(), Alone)
    fleet.cache_clear()


def test_a_lesson_is_placed_with_all_that_is_in_it() -> None:
    lesson = squares()
    there = placed({"batch": lesson, "scales": torch.ones(2)}, torch.device("meta"))
    assert there["scales"].device.type == there["batch"].clean_NCHW.device.type == "meta"
    assert there["batch"].frames == lesson.frames
