"""What a teacher was asked once is on disk: named by what made it, whole, bounded, shared."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minuet.contracts.errors import DamagedError, RequestError
from minuet.distill import cache
from minuet.distill.cache import SampleCache
from minuet.distill.path import noise
from minuet.distill.pipelines import text
from minuet.distill.predict import Condition
from minuet.distill.teacher import NetworkTeacher, Space, Teacher
from tests.distill.squares import squares
from tests.models.tiny import LEVELS, denoiser

ROOM = 1 << 30


@pytest.fixture(autouse=True)
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD", 4)


@dataclass
class Doubling:
    """A teacher whose samples are a formula of what it is given."""

    name: str = "doubling"
    digest: str = "one"
    space: Space = field(default_factory=lambda: Space(shape=(3, 2)))
    asked: list[int] = field(default_factory=list)

    def predict(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        return noisy

    def sample(self, noise: Tensor, condition: Condition) -> Tensor:
        self.asked.append(len(noise))
        return noise * 2 + condition["text"].float().sum(1)[:, None, None]


def told(numbers: Sequence[int]) -> Condition:
    return {"text": text([f"example {number:03d}" for number in numbers])}


def kept(folder: Path, teacher: Teacher | None = None, limit: int = ROOM) -> SampleCache:
    one = Doubling() if teacher is None else teacher
    return SampleCache(folder=folder, teacher=one, seed=5, limit_bytes=limit)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.safetensors"))


def test_examples_come_back_with_what_was_told_and_the_noise_they_began_with(
    tmp_path: Path,
) -> None:
    one = kept(tmp_path)
    assert list(one.fill(told, 6, batch=3)) == [4, 6]
    found = one.open(told, 6)
    assert len(found) == 6
    lesson = found.batch([5, 0])
    starts = torch.stack([noise(5, number, (3, 2)) for number in (5, 0)])
    assert torch.equal(lesson.noise, starts)
    assert torch.equal(lesson.condition["text"], told([5, 0])["text"])
    assert_close(lesson.x0, Doubling().sample(starts, told([5, 0])))


def test_what_is_there_is_not_asked_again(tmp_path: Path) -> None:
    teacher = Doubling()
    list(kept(tmp_path, teacher).fill(told, 8))
    list(kept(tmp_path, teacher).fill(told, 12))
    assert teacher.asked == [4, 4, 4]


@pytest.mark.parametrize("change", ["weights", "seed", "words"])
def test_anything_else_that_made_it_is_another_shard(tmp_path: Path, change: str) -> None:
    list(kept(tmp_path).fill(told, 4))
    teacher = Doubling(digest="two" if change == "weights" else "one")
    seed = 6 if change == "seed" else 5
    other = SampleCache(folder=tmp_path, teacher=teacher, seed=seed, limit_bytes=ROOM)
    words = (lambda numbers: told([9 for _ in numbers])) if change == "words" else told
    with pytest.raises(RequestError, match="not there yet"):
        other.open(words, 4)
    list(other.fill(words, 4))
    assert len(names(tmp_path)) == 2 and len(other.open(words, 4)) == 4


def test_the_same_inputs_give_the_same_bytes_however_many_workers(tmp_path: Path) -> None:
    list(kept(tmp_path / "one").fill(told, 10, batch=4))
    for rank in (2, 0, 1):
        made = list(kept(tmp_path / "three").fill(told, 10, batch=3, rank=rank, world=3))
        assert len(made) == 1
    assert names(tmp_path / "one") == names(tmp_path / "three") != []
    for name in names(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()


def test_draws_depend_on_the_generator_alone(tmp_path: Path) -> None:
    one = kept(tmp_path)
    list(one.fill(told, 6))
    found = one.open(told, 6)
    a, b = (found.draw(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a.x0, b.x0)


def test_a_folder_does_not_grow_over_its_limit(tmp_path: Path) -> None:
    list(kept(tmp_path).fill(told, 4))
    (size,) = (path.stat().st_size for path in tmp_path.glob("*"))
    with pytest.raises(RequestError, match=r"would exceed the limit .* what is there is kept"):
        list(kept(tmp_path, limit=2 * size - 1).fill(told, 8))
    assert len(names(tmp_path)) == 1
    list(kept(tmp_path, limit=2 * size + 64).fill(told, 8))


@pytest.mark.parametrize("size", [0, 7, 300])
def test_a_truncated_shard_is_refused_by_name(tmp_path: Path, size: int) -> None:
    one = kept(tmp_path)
    list(one.fill(told, 4))
    (path,) = tmp_path.glob("*")
    path.write_bytes(path.read_bytes()[:size])
    for again in (lambda: list(one.fill(told, 4)), lambda: one.open(told, 4)):
        with pytest.raises(DamagedError, match=rf"{path.name}: damaged .*remove it"):
            again()


def test_a_flipped_bit_is_found_when_its_example_is_read(tmp_path: Path) -> None:
    one = kept(tmp_path)
    list(one.fill(told, 4))
    (path,) = tmp_path.glob("*")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the last example's
    path.write_bytes(data)
    found = one.open(told, 4)
    found.batch([0, 1, 2])
    with pytest.raises(DamagedError, match="example 3 is damaged; remove the file"):
        found.batch([3])


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_whole_shards_and_the_next_goes_on(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from minuet.distill import cache
        from tests.distill.test_cache import Doubling, kept, told
        cache.SHARD = 4
        for done in kept(Path(sys.argv[1])).fill(told, 4000):
            print(done, flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as worker:
        assert worker.stdout is not None
        for _ in range(5):
            worker.stdout.readline()
        os.kill(worker.pid, signal.SIGKILL)
    there = len(names(tmp_path))
    assert 5 <= there < 1000
    teacher = Doubling()
    one = kept(tmp_path, teacher)
    list(one.fill(told, 4 * there + 8))
    assert teacher.asked == [4, 4] and len(one.open(told, 4 * there + 8)) == 4 * there + 8


def test_a_network_of_ours_is_kept_too(tmp_path: Path) -> None:
    batch = squares(2, 16)
    teacher = NetworkTeacher(
        name="net", network=denoiser(), levels=LEVELS, guidance=1.5, bfloat16=False
    )
    tokens = torch.arange(32, dtype=torch.int32).reshape(2, 16)

    def conditions(numbers: Sequence[int]) -> Condition:
        rows = [number % 2 for number in numbers]
        return {"sticker": batch.sticker_BCHW[rows], "tokens": tokens[rows]}

    one = kept(tmp_path, teacher)
    list(one.fill(conditions, 2))
    lesson = one.open(conditions, 2).batch([0, 1])
    assert_close(lesson.x0, teacher.sample(lesson.noise, lesson.condition), atol=1e-5, rtol=1e-4)
