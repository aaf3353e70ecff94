"""Real samples of one program and of slower copies -> how often the gate errs on this machine."""

# Three hundred gate runs of a minute each would take a night. So one long record is measured, and
# a gate run is a stretch of it: as many turns in a row as fit into the time of one run, from a
# random place on, the end joined to the beginning. Stretches overlap, and are worth fewer
# independent runs than they are; the text says how many.

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from minuet.benchmarks.against import against, in_turns
from minuet.benchmarks.budget import Budget
from minuet.benchmarks.stats import Floats, Interval, checked, share_interval
from minuet.benchmarks.verdict import FAIL, INCONCLUSIVE, PASS
from minuet.contracts.errors import InconclusiveError, RequestError
from minuet.contracts.report import BASE, Machine, Report, Run

OLD, SAME, FIVE, TEN = "base", "same", "5 %", "10 %"  # who takes turns
HEAT = 0.3  # by how much the planted heat slows the end of a gate run against its beginning
FEWEST = 20  # turns of a gate run below which the machine was too slow for a verdict on the gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is planted, how it should end, and how often at least or at most."""

    name: str
    new: str
    outcome: str
    at_least: float = 0.0
    at_most: float = 1.0
    heat: float = 0.0
    apart: bool = False  # against a baseline that was measured cold, not in turns


SCENARIOS = (
    Scenario(name="the same twice", new=SAME, outcome=FAIL, at_most=0.01),
    Scenario(name="5 % slower", new=FIVE, outcome=FAIL, at_least=0.9),
    Scenario(name="10 % slower", new=TEN, outcome=FAIL, at_least=0.99),
    Scenario(name="heat on both", new=SAME, outcome=INCONCLUSIVE, at_least=0.9, heat=HEAT),
    Scenario(
        name="heat after a cold baseline",
        new=SAME,
        outcome=INCONCLUSIVE,
        at_least=0.9,
        heat=HEAT,
        apart=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a scenario's gate runs ended."""

    scenario: Scenario
    outcomes: Mapping[str, int]
    rate: Interval  # of the scenario's outcome

    @property
    def kept(self) -> bool:
        """Whether it ended as it should, as often as it should."""
        return self.scenario.at_least <= self.rate.value <= self.scenario.at_most

    def __str__(self) -> str:
        ask, rate = self.scenario, self.rate
        promise = (
            f"at most {ask.at_most:.0%}" if ask.at_most < 1 else f"at least {ask.at_least:.0%}"
        )
        counts = ", ".join(f"{count} {word}" for word, count in self.outcomes.items() if count)
        return (
            f"{'kept' if self.kept else 'MISSED'}: {ask.name}: {ask.outcome} in {rate.value:.1%} "
            f"({rate.low:.1%} to {rate.high:.1%}), {promise}; {counts}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """What the gate is worth on this machine."""

    results: tuple[Result, ...]
    turns: int  # of one gate run, a side
    measured: int  # turns a side in the record
    seconds: float  # of measuring in one gate run

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return all(result.kept for result in self.results)

    @property
    def method(self) -> str:
        """What was done, for people."""
        runs = sum(self.results[0].outcomes.values())
        worth = self.measured / self.turns
        return (
            f"{runs} gate runs a line, each {self.turns} turns in a row ({self.seconds:.0f} s) out "
            f"of {self.measured} that were measured, from a random place on; they overlap, and are "
            f"worth about {worth:.1f} that share nothing. The slow-downs were measured, the heat "
            "is multiplied onto the samples."
        )

    def to_json(self) -> dict[str, Any]:
        """A plain value."""
        rows = [asdict(result) | {"kept": result.kept} for result in self.results]
        return asdict(self) | {"results": rows, "kept": self.kept, "method": self.method}


def replay(
    record: Mapping[str, Sequence[float]],
    *,
    runs: int,
    seconds: float,
    seed: int = 0,
    scenarios: Sequence[Scenario] = SCENARIOS,
) -> SelfTest:
    """Draw gate runs from what took turns, and judge each as `minuet gate` does by default.

    Args:
        record: samples in ms of OLD, SAME, FIVE and TEN, in order.
        seconds: of measuring in one gate run, both sides together.

    Raises:
        InconclusiveError: the record is too short for any verdict.
        RequestError: runs or seconds are not above 0.
    """
    if runs < 1 or seconds <= 0:
        raise RequestError(f"runs and seconds are above 0, got {runs} and {seconds}.")
    samples = {name: checked(values) for name, values in record.items()}
    measured = min(values.size for values in samples.values())
    pair_ms = float(np.median(samples[OLD][:measured] + samples[SAME][:measured]))
    turns = min(measured, int(1e3 * seconds / pair_ms))
    if turns < FEWEST:
        raise InconclusiveError(
            f"{turns} turns of {pair_ms:.0f} ms are too few to say anything; "
            "give it more --seconds, or a quieter machine."
        )
    places = np.random.default_rng(seed).integers(0, measured, runs)
    results = tuple(_result(scenario, samples, places, turns) for scenario in scenarios)
    spent = turns * pair_ms / 1e3
    return SelfTest(results=results, turns=turns, measured=measured, seconds=spent)


def _result(scenario: Scenario, samples: Mapping[str, Floats], places: Any, turns: int) -> Result:
    outcomes = dict.fromkeys((PASS, FAIL, INCONCLUSIVE), 0)
    measured = min(values.size for values in samples.values())
    for place in places:
        at = (place + np.arange(turns)) % measured
        outcomes[_verdict(scenario, samples[OLD][at], samples[scenario.new][at])] += 1
    rate = share_interval(outcomes[scenario.outcome], len(places))
    return Result(scenario=scenario, outcomes=outcomes, rate=rate)


def _verdict(scenario: Scenario, old: Floats, new: Floats) -> str:
    """One gate run at default settings."""
    heat = np.linspace(1, 1 + scenario.heat, new.size)
    budget = Budget(name="self-test")
    if scenario.apart:
        return against(_report(_run(new * heat)), _report(_run(old)), budget)[0].outcome
    base = replace(_run(old * heat), side=BASE)
    return in_turns(_report(_run(new * heat), base), budget)[0].outcome


def _run(samples: Floats) -> Run:
    return Run(
        artifact="self-test",
        artifact_sha256="",
        runtime="planted",
        runtime_version="",
        threads=0,
        samples_ms={"total": tuple(samples.tolist())},
        peak_rss_mib=None,
        bytes_on_disk=0,
        steps=0,
        nfe=0,
        macs=None,
    )


def _report(*runs: Run) -> Report:
    here = Machine(cpu="here", cores=0, memory_mib=0, os="", python="")
    return Report(
        bundle="self-test", machine=here, runs=runs, clock_resolution_ns=0, minuet="", seed=0
    )
