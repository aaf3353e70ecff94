"""Tuning stops before it forgets, whatever kills it; soups of runs that began alike."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from minuet.contracts.errors import DamagedError, RequestError
from minuet.distill.loop import TrainConfig, Trainer
from minuet.distill.tune import StopRule, greedy_soup, soup, tune
from tests.models.tiny import denoiser

RULE = StopRule(every=5, fall=0.02, patience=2)


class Fit(nn.Module):
    """A line: what is tuned."""

    def __init__(self, weight: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))


def objective(
    network: nn.Module, lesson: Tensor, rng: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """The curated clips want 1."""
    assert isinstance(network, Fit)
    loss = (network.weight - lesson).square().sum()
    return loss, {}


def draw(size: int, rng: torch.Generator) -> Tensor:
    return torch.ones(1) + 0.1 * torch.randn(1, generator=rng)


def generality(network: nn.Module) -> float:
    """Everything else wants 0.3: generality rises, then falls."""
    assert isinstance(network, Fit)
    return -abs(network.weight.item() - 0.3)


def trainer(folder: Path) -> Trainer:
    config = TrainConfig(
        clips=80, batch=1, learning_rate=0.04, warmup_clips=1, ema=0.5, save_seconds=0.0
    )
    return Trainer(Fit(), config, folder)


def test_tuning_stops_once_generality_has_fallen_and_keeps_the_best(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    tuned = tune(one, objective, draw, RULE, generality)
    assert tuned.stopped and one.step < 80
    assert tuned.best not in (0, one.step) and one.step == max(tuned.looks)
    assert generality(one.average) == tuned.looks[tuned.best] == max(tuned.looks.values())
    late = [value < max(tuned.looks.values()) - RULE.fall for value in tuned.looks.values()]
    assert late[-2:] == [True, True] and not (late[-3] and late[-2])
    assert len(list(tmp_path.glob("best-*"))) == 1


def test_tuning_that_never_forgets_goes_on_to_the_end(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    tuned = tune(one, objective, draw, RULE, lambda network: float(one.step))
    assert not tuned.stopped and tuned.best == 80


def test_a_tuning_that_only_harms_gives_back_what_it_began_with(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    tuned = tune(one, objective, draw, RULE, lambda network: -float(one.step))
    assert tuned.stopped and tuned.best == 0
    assert isinstance(one.average, Fit) and one.average.weight.item() == 0


@pytest.mark.parametrize("kill", range(1, 9))
def test_a_kill_at_any_look_ends_as_if_there_had_been_none(tmp_path: Path, kill: int) -> None:
    whole = trainer(tmp_path / "whole")
    expected = tune(whole, objective, draw, RULE, generality)

    class KilledError(Exception):
        """What kill -9 is to the code: nothing after it runs."""

    looked = 0

    def deadly(network: nn.Module) -> float:
        nonlocal looked
        looked += 1
        if looked == kill:
            raise KilledError
        return generality(network)

    one = trainer(tmp_path / "killed")
    try:
        tune(one, objective, draw, RULE, deadly)
    except KilledError:
        one = trainer(tmp_path / "killed")
        one.resume()
        assert tune(one, objective, draw, RULE, generality) == expected
    assert torch.equal(one.average.weight, whole.average.weight)  # type: ignore[arg-type]
    again = trainer(tmp_path / "killed")
    again.resume()
    assert tune(again, objective, draw, RULE, lambda network: pytest.fail("looked")) == expected


def test_looks_ahead_of_the_checkpoint_hold(tmp_path: Path) -> None:
    """The checkpoint of a killed run may be older than its looks."""
    whole = tune(trainer(tmp_path / "whole"), objective, draw, RULE, generality)
    one = trainer(tmp_path / "cut")
    tune(one, objective, draw, RULE, generality)
    looks = json.loads((tmp_path / "cut" / "looks.json").read_text())
    last = max(map(int, looks["looks"]))
    del looks["looks"][str(last)]
    (tmp_path / "cut" / "looks.json").write_text(json.dumps(looks))
    for path in tmp_path.glob("cut/checkpoint*"):
        path.unlink() if path.is_file() else None
    fresh = trainer(tmp_path / "cut")
    assert tune(fresh, objective, draw, RULE, generality) == whole


def broken(folder: Path, text: str) -> None:
    (folder / "looks.json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: broken(folder, "[]"), "damaged"),
        (lambda folder: broken(folder, '{"rule": {}, "looks": {}}'), "another rule"),
        (lambda folder: next(folder.glob("best-*")).write_bytes(b"x"), "cannot be read"),
        (lambda folder: next(folder.glob("best-*")).unlink(), "cannot be read"),
    ],
)
def test_a_damaged_memory_is_one_message(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    tune(trainer(tmp_path), objective, draw, RULE, generality)
    damage(tmp_path)
    with pytest.raises((DamagedError, RequestError), match=message):
        tune(trainer(tmp_path), objective, draw, RULE, generality)


def test_rules_and_metrics_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="at least 1"):
        StopRule(every=0, fall=0.1)
    with pytest.raises(RequestError, match="generality is nan"):
        tune(trainer(tmp_path), objective, draw, RULE, lambda network: float("nan"))


def test_a_soup_is_the_mean() -> None:
    one, two = denoiser(), denoiser()
    with torch.no_grad():
        for parameter in two.parameters():
            parameter.mul_(3)
    mixed = soup([one, two])
    for name, value in mixed.named_parameters():
        assert_close(value, 2 * one.get_parameter(name))
    assert torch.equal(soup([one]).frame, one.frame)


def test_a_greedy_soup_takes_only_what_helps() -> None:
    cooked, chosen = greedy_soup([Fit(5.0), Fit(0.1), Fit(0.4), Fit(0.9)], generality)
    # 0.4 is best, with 0.1 it is 0.25; 0.9 makes it worse, and 5 worse still.
    assert chosen == [2, 1] and cooked.weight.item() == pytest.approx(0.25)
    assert generality(cooked) >= generality(Fit(0.4))


@pytest.mark.parametrize(
    "others",
    [[], [denoiser(), denoiser(parts=4, landmarks=2)], [denoiser(), Fit()]],
    ids=["none", "shapes", "families"],
)
def test_runs_of_unlike_networks_make_no_soup(others: list[nn.Module]) -> None:
    with pytest.raises(RequestError, match=r"to average|only runs of one network"):
        soup(others)
