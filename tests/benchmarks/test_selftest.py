import numpy as np
import pytest

from minuet.benchmarks.selftest import FIVE, OLD, SAME, SCENARIOS, TEN, SelfTest, replay
from minuet.contracts.errors import InconclusiveError, RequestError
from tests.benchmarks.noise import in_turns


def measured(
    seed: int, factors: tuple[float, ...] = (1.0, 1.0, 1.05, 1.1)
) -> dict[str, list[float]]:
    """Four minutes of four subjects of 50 ms, on a busy machine."""
    found = in_turns(np.random.default_rng(seed), 1200, factors)
    return dict(zip((OLD, SAME, FIVE, TEN), (row.tolist() for row in found), strict=True))


@pytest.fixture(scope="module")
def result() -> SelfTest:
    return replay(measured(0), runs=40, seconds=60)


def test_on_noise_as_a_busy_machine_makes_it_every_promise_is_kept(result: SelfTest) -> None:
    assert [one.kept for one in result.results] == [True] * len(SCENARIOS), list(
        map(str, result.results)
    )
    assert result.kept


def test_it_says_what_a_gate_run_was_and_what_it_is_worth(result: SelfTest) -> None:
    assert 540 < result.turns < 620 and result.measured == 1200
    assert result.seconds == pytest.approx(60, rel=0.05)
    assert "40 gate runs a line" in result.method and "worth about 2." in result.method
    rows = result.to_json()
    assert rows["kept"] is True and rows["results"][0]["rate"]["value"] <= 0.01


def test_a_rate_comes_with_its_binomial_interval(result: SelfTest) -> None:
    none = result.results[0].rate
    assert none.value == 0 and none.high == pytest.approx(1 - 0.025 ** (1 / 40))
    assert "0.0% (0.0% to 8.8%), at most 1%" in str(result.results[0])


def test_a_gate_that_sees_slow_downs_everywhere_or_nowhere_is_found_out() -> None:
    blind = replay(measured(1, (1.0, 1.0, 1.0, 1.0)), runs=10, seconds=60, scenarios=SCENARIOS[1:3])
    assert [one.kept for one in blind.results] == [False, False]
    nervous = replay(
        measured(1, (1.0, 1.1, 1.0, 1.0)), runs=10, seconds=60, scenarios=SCENARIOS[:1]
    )
    assert not nervous.kept and str(nervous.results[0]).startswith("MISSED: the same twice")


def test_heat_that_is_not_noticed_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minuet.benchmarks.compare.trend", lambda *_, **__: None)
    heat = replay(measured(2), runs=10, seconds=60, scenarios=SCENARIOS[3:])
    assert not all(one.kept for one in heat.results)


def test_too_little_and_nonsense_are_refused() -> None:
    record = {name: values[:15] for name, values in measured(3).items()}
    with pytest.raises(InconclusiveError, match=r"15 turns of .* too few"):
        replay(record, runs=10, seconds=60)
    with pytest.raises(RequestError, match="above 0, got 0"):
        replay(measured(3), runs=0, seconds=60)
