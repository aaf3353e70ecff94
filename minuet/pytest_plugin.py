"""A test's call -> its latency, judged: the fixture `minuet_latency` in anybody's repository."""

# Every pytest of an environment loads this file, and most never measure: it imports next to
# nothing, and the harness comes with the first call that is timed.

import json
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minuet.contracts.errors import MinuetError

if TYPE_CHECKING:
    from minuet.benchmarks.verdict import Verdict
    from minuet.latency import Answer, Store

FOLDER = ".minuet-baseline"
ROWS = pytest.StashKey[list[dict[str, Any]]]()
INCONCLUSIVE = ("skip", "xfail", "fail")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, all named after this package."""
    group = parser.getgroup("minuet", "latency, judged by minuet")
    add = group.addoption
    add("--minuet-baseline", metavar="DIR", help=f"stored baselines; default: {FOLDER}")
    add("--minuet-update", action="store_true", help="write the baselines that tests name")
    add("--minuet-allow-strangers", action="store_true", help="compare with another machine's")
    add(
        "--minuet-inconclusive",
        choices=INCONCLUSIVE,
        default=INCONCLUSIVE[0],
        help="what a test does that cannot be decided; default: %(default)s",
    )
    add("--minuet-samples", type=int, default=0, metavar="N", help="timed runs of each call")
    add("--minuet-seconds", type=float, default=10.0, metavar="S", help="most seconds for each")
    add("--minuet-report", metavar="FILE", help="every sample, as a report for `minuet gate`")


def pytest_configure(config: pytest.Config) -> None:
    """Collect what all tests, in whichever process they run, have measured."""
    config.pluginmanager.register(Collected(config=config), "minuet-collected")


@pytest.fixture
def minuet_clock() -> Callable[[], int]:
    """Nanoseconds that never go back; override it to measure with a clock of your own."""
    return time.perf_counter_ns


@pytest.fixture
def minuet_latency(request: pytest.FixtureRequest, minuet_clock: Callable[[], int]) -> "Latency":
    """Time a call and assert what it may cost; see `Latency.__call__`."""
    from minuet.latency import Store

    config, node = request.config, request.node
    store = Store(
        folder=config.rootpath / (config.option.minuet_baseline or FOLDER),
        update=config.option.minuet_update,
        allow_strangers=config.option.minuet_allow_strangers,
    )
    return Latency(node=node, config=config, store=store, clock=minuet_clock)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Latency:
    """What the fixture gives to a test."""

    node: Any  # pytest.Item, whose stash is declared without a type
    config: pytest.Config
    store: "Store"
    clock: Callable[[], int]

    def __call__(
        self,
        call: Callable[[], object],
        *,
        at_most_ms: float | None = None,
        quantile: str = "p50",
        against: Callable[[], object] | None = None,
        baseline: str = "",
        min_effect: float = 0.03,
        samples: int = 0,
        seconds: float = 0,
    ) -> "Sequence[Verdict]":
        """Warm up until steady, time, and judge with the doubt counted in.

        Args:
            call: what is timed; on a GPU it waits for its own result.
            at_most_ms: what the quantile may take, its interval included.
            quantile: p50, p90 or p99; a far one takes more samples.
            against: a call that this one may not be slower than; both take turns.
            baseline: the name of a stored measurement that it may not be slower than.
            min_effect: slower by less than this share is not slower.
            samples: how many runs are timed; 0: what the option says, or the quantile needs.
            seconds: how long at most, and what is done by then is judged; 0: as the option says.

        Raises:
            AssertionError: it is too slow, with the verdict's numbers.
        """
        __tracebackhide__ = True
        asked = {
            "at_most_ms": at_most_ms,
            "quantile": quantile,
            "against": against,
            "baseline": baseline,
            "min_effect": min_effect,
            "samples": samples or self.config.option.minuet_samples,
            "seconds": seconds or self.config.option.minuet_seconds,
        }
        return self._say(self._answer(call, asked))

    def _answer(self, call: Callable[[], object], asked: dict[str, Any]) -> "Answer":
        from minuet.latency import Ask, answer

        __tracebackhide__ = True
        before = len(self._rows())
        name = f"{self.node.nodeid} #{before + 1}" if before else self.node.nodeid
        try:
            return answer(call, Ask(name=name, **asked), self.store, self.clock)
        except MinuetError as error:
            told = str(error)
        pytest.fail(told, pytrace=False)

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.node.stash.setdefault(ROWS, [])
        return rows

    def _say(self, found: "Answer") -> "Sequence[Verdict]":
        """Keep it for the summary; then pass, fail, or end as a doubt ends here."""
        from minuet.benchmarks.verdict import FAIL, PASS, outcome_of
        from minuet.latency import beside_others

        __tracebackhide__ = True
        crowd = getattr(self.config, "workerinput", {}).get("workercount", 1) > 1
        verdicts = tuple(map(beside_others, found.verdicts)) if crowd else found.verdicts
        lines = [(verdict.outcome, str(verdict)) for verdict in verdicts]
        lines += [(PASS, f"{found.runs[0].artifact}: {found.note}")] if found.note else []
        runs = [json.dumps(asdict(run)) for run in found.runs]
        self._rows().append({"runs": runs, "lines": lines})
        outcome = outcome_of(verdicts) if verdicts else PASS
        told = "\n".join(str(verdict) for verdict in verdicts if verdict.outcome == outcome)
        if outcome == FAIL:
            raise AssertionError(told)
        if outcome != PASS:
            _doubt(self.config.option.minuet_inconclusive, told)
        return verdicts


def _doubt(wish: str, told: str) -> None:
    __tracebackhide__ = True
    if wish == "skip":
        pytest.skip(told)
    if wish == "xfail":
        pytest.xfail(told)
    raise AssertionError(told)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Generator[None, Any, Any]:
    """Send what a test measured along with its report, which crosses processes."""
    report = yield
    if ROWS in item.stash:
        report.minuet = item.stash[ROWS]
        del item.stash[ROWS]
    return report


@dataclass(kw_only=True, eq=False)  # pytest keeps plugins in sets
class Collected:
    """What all tests measured; pytest calls its hooks."""

    config: pytest.Config
    rows: list[dict[str, Any]] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take what came with a report, from this process or a worker."""
        self.rows += getattr(report, "minuet", ())

    def pytest_sessionfinish(self) -> None:
        """Write the report that was asked for; workers leave that to who started them."""
        path = self.config.option.minuet_report
        if not path or hasattr(self.config, "workerinput"):
            return
        from minuet.contracts.files import write_json
        from minuet.contracts.records import record
        from minuet.contracts.report import Run
        from minuet.latency import report_of

        runs = [record(Run, json.loads(run)) for row in self.rows for run in row["runs"]]
        try:
            write_json(Path(path), report_of(*runs, clock=time.perf_counter_ns).to_json())
        except MinuetError as error:
            raise pytest.UsageError(str(error)) from error

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One line a verdict."""
        colours = {"pass": "green", "fail": "red"}
        if self.rows:
            terminalreporter.section("latency")
        for row in self.rows:
            for outcome, line in row["lines"]:
                terminalreporter.write_line(line, **{colours.get(outcome, "yellow"): True})
