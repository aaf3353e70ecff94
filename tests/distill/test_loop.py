"""Training: it learns, and a kill at any moment costs nothing but time."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from minuet.contracts.errors import DamagedError, RequestError
from minuet.distill.augment import Augment
from minuet.distill.batch import Batch
from minuet.distill.loop import TrainConfig, Trainer
from minuet.distill.losses import Weights
from minuet.distill.objectives import FlowMatching
from tests.distill.squares import MIRROR, NOTHING, draw
from tests.models.tiny import denoiser

STEPS = 6
OBJECTIVE = FlowMatching(augment=Augment(), mirror=MIRROR, weights=Weights(), bfloat16=False)


def trainer(folder: Path, steps: int = STEPS, **changes: float) -> Trainer:
    settings = {"batch": 2, "warmup_clips": 4, "log_steps": 2, "save_seconds": 0.0} | changes
    config = TrainConfig(clips=2 * steps, **settings)  # type: ignore[arg-type]
    return Trainer(denoiser().train(), config, folder)


def until(step: int, one: Trainer) -> Callable[[int, torch.Generator], Batch]:
    """Batches, and a Ctrl-C before the given step."""

    def drawn(size: int, rng: torch.Generator) -> Batch:
        if one.step == step:
            raise KeyboardInterrupt
        return draw(size, rng)

    return drawn


def same(one: Trainer, two: Trainer) -> bool:
    states = [(x.network.state_dict(), x.average.state_dict()) for x in (one, two)]
    return all(torch.equal(a[name], b[name]) for a, b in zip(*states, strict=True) for name in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    one = trainer(tmp_path_factory.mktemp("whole"))
    one.run(OBJECTIVE, draw)
    return one


def test_an_interrupted_run_ends_with_the_same_bits(whole: Trainer, tmp_path: Path) -> None:
    one = trainer(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        one.run(OBJECTIVE, until(3, one))
    two = trainer(tmp_path)
    assert two.resume() and two.step == 3
    two.run(OBJECTIVE, draw)
    assert two.step == STEPS and same(two, whole)


def test_an_interrupt_between_steps_loses_none(whole: Trainer, tmp_path: Path) -> None:
    def pressed(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, save_seconds=1e9).run(OBJECTIVE, draw, tick=pressed)
    two = trainer(tmp_path)
    assert two.resume() and two.step == 4
    two.run(OBJECTIVE, draw)
    assert same(two, whole)


KILLED = """
from pathlib import Path
import sys, torch
torch.set_num_threads(1)
from tests.distill.squares import draw
from tests.distill.test_loop import OBJECTIVE, trainer
trainer(Path(sys.argv[1]), steps=100_000).run(OBJECTIVE, draw)
"""


def test_a_killed_run_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root)
    one = trainer(tmp_path, steps=100_000)
    deadline = time.monotonic() + 120
    while not one.checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # it saves at every step: the kill falls in or near a save
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert one.resume() and one.step > 0
    assert all(value.isfinite().all() for value in one.network.state_dict().values())


def test_a_save_that_fails_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(tmp_path)
    one.save()
    before = one.checkpoint.read_bytes()
    one.step = 5

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RequestError, match="disk is full"):
        one.save()
    assert one.checkpoint.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [one.checkpoint.name]


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert not trainer(tmp_path).resume()


@pytest.mark.parametrize("size", [0, 7, 5000])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, size: int) -> None:
    one = trainer(tmp_path)
    one.save()
    one.checkpoint.write_bytes(one.checkpoint.read_bytes()[:size])
    with pytest.raises(DamagedError, match=r"cannot go on from it .* remove it to begin again"):
        one.resume()


@pytest.mark.parametrize(
    ("gone", "told"), [("moments.", "no moments"), (".exp_avg_sq", "there are .*exp_avg")]
)
def test_a_checkpoint_that_lost_moments_is_refused(tmp_path: Path, gone: str, told: str) -> None:
    one = trainer(tmp_path, steps=1)
    one.run(OBJECTIVE, draw)
    left = {k: v for k, v in load_file(one.checkpoint).items() if gone not in k}
    with safe_open(one.checkpoint, "pt") as file:
        save_file(left, one.checkpoint, file.metadata())
    with pytest.raises(DamagedError, match=rf"cannot go on from it .*{told}.* remove it"):
        trainer(tmp_path, steps=1).resume()


def test_another_networks_checkpoint_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).save()
    other = Trainer(denoiser(fine=16), TrainConfig(clips=4), tmp_path)
    with pytest.raises(DamagedError, match="cannot go on from it"):
        other.resume()


def test_the_loss_falls(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=60, save_seconds=1e9, learning_rate=4e-3, log_steps=10)
    losses: list[float] = []
    plain = replace(OBJECTIVE, augment=NOTHING)
    one.run(plain, draw, lambda progress: losses.append(progress.losses["flow"]))
    assert losses[-1] < 0.8 * losses[0]


@dataclass(frozen=True)
class Planted:
    """The usual loss, but for one part that is not a number at one step."""

    one: Trainer
    step: int
    name: str

    def __call__(
        self, network: torch.nn.Module, lesson: Batch, rng: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, parts = OBJECTIVE(network, lesson, rng)
        if self.one.step != self.step:
            return loss, dict(parts)
        return loss * float("nan"), {**parts, self.name: parts["flow"] * float("inf")}


@pytest.mark.parametrize(
    ("step", "name", "told"), [(0, "paint", "'paint' is inf"), (3, "none", "'none' is inf")]
)
def test_a_loss_that_is_not_a_number_stops_before_the_weights(
    tmp_path: Path, step: int, name: str, told: str
) -> None:
    one = trainer(tmp_path)
    message = rf"step {step}: the loss {told}; lower the learning rate.*{one.checkpoint.name}\.$"
    with pytest.raises(RequestError, match=message):
        one.run(Planted(one, step, name), draw)
    assert all(value.isfinite().all() for value in one.network.state_dict().values())
    two = trainer(tmp_path)
    assert two.resume() and two.step == step and same(one, two)


def test_a_gradient_that_is_not_a_number_stops_too(tmp_path: Path) -> None:
    def rooted(
        network: torch.nn.Module, lesson: Batch, rng: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, _ = OBJECTIVE(network, lesson, rng)
        return (loss - loss.detach()).sqrt(), {}  # 0, with a slope of infinity times 0

    with pytest.raises(RequestError, match=r"step 0: the gradient's norm is (nan|inf)"):
        trainer(tmp_path).run(rooted, draw)


def test_the_rate_warms_up_then_falls_to_its_floor(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=100, warmup_clips=20, learning_rate=1.0, floor=0.1)
    rates = []
    for one.step in range(100):
        rates.append(one.rate())
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) > 0.9 and rates.index(max(rates)) == 9
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_each_report_is_one_line_of_the_log(whole: Trainer) -> None:
    lines = (whole.folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]
    assert set(json.loads(lines[0])["losses"]) == {"loss", *Weights.__dataclass_fields__}


def test_whether_a_run_has_begun_all_processes_say_before_any_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(tmp_path, steps=1)
    events: list[str] = []
    save, told = one.save, one.on.told

    def saving() -> None:
        events.append("save")
        save()

    def telling(value: Any) -> list[Any]:
        events.append("told")
        return told(value)

    monkeypatch.setattr(one, "save", saving)
    monkeypatch.setattr(one.on, "told", telling)
    one.run(OBJECTIVE, draw)
    assert events.index("told") < events.index("save") and events.count("save") >= 2


def test_a_run_that_another_process_found_begun_is_not_saved_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(tmp_path, steps=1)
    told = one.on.told
    saved: list[int] = []
    another = [True]
    monkeypatch.setattr(
        one.on, "told", lambda value: told(value) + (another if isinstance(value, bool) else [])
    )
    monkeypatch.setattr(one, "save", lambda: saved.append(one.step))
    one.run(OBJECTIVE, draw)
    assert 0 not in saved and saved
