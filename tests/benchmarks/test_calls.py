import pytest

from minuet.benchmarks.calls import Call, time_calls
from minuet.benchmarks.clock import resolution
from minuet.benchmarks.memory import Memory
from minuet.benchmarks.subject import GoneError


class Clock:
    """Time that passes only where something is done, and 10 ns with every look."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        self.ns += 10
        return self.ns

    def spend(self, ms: float) -> None:
        self.ns += round(ms * 1e6)


def test_calls_are_timed_in_turns_and_every_sample_is_kept() -> None:
    clock, order = Clock(), list[str]()

    def call(name: str, ms: float) -> None:
        order.append(name)
        clock.spend(ms)

    calls = {"a": lambda: call("a", 2.0), "b": lambda: call("b", 3.0)}
    found = time_calls(calls, samples=8, seconds=60, clock=clock)
    assert [len(found[name].samples_ms["total"]) for name in "ab"] == [8, 8]
    assert found["b"].samples_ms["total"] == pytest.approx([3.0] * 8, rel=1e-4)
    assert "".join(order[-16:]) == "aabbbbaa" * 2  # A B B A, two in a row
    assert "load" not in found["a"].samples_ms and len(found["a"].samples_ms["first"]) == 1


def test_the_time_that_was_given_is_kept() -> None:
    clock = Clock()
    found = time_calls({"a": lambda: clock.spend(100)}, samples=1000, seconds=1, clock=clock)
    assert 10 <= len(found["a"].samples_ms["total"]) <= 12


def test_an_error_comes_out_as_it_was_raised() -> None:
    def broken() -> None:
        raise KeyError("who")

    with pytest.raises(KeyError, match="who") as caught:
        time_calls({"a": broken, "b": list}, samples=5, seconds=1)
    assert caught.traceback[-1].name == "broken"


def test_a_sample_of_short_calls_is_the_mean_of_so_many_that_the_clock_can_tell() -> None:
    clock = Clock()
    calls = {"short": lambda: clock.spend(0.0005), "long": lambda: clock.spend(1)}
    alone = time_calls({"short": calls["short"]}, samples=5, seconds=1, clock=clock)["short"]
    assert alone.batch * 0.0005 >= resolution(clock).shortest_ms
    assert alone.samples_ms["total"] == pytest.approx([0.0005] * 5, rel=0.005)
    both = time_calls(calls, samples=5, seconds=1, clock=clock)
    assert both["short"].batch == both["long"].batch > 1, "compared with each other: one batch"


def test_a_call_that_takes_no_time_is_not_measured() -> None:
    run = time_calls({"none": lambda: None}, samples=5, seconds=1, clock=Clock())["none"]
    assert "not measured" in run.refusal and "total" not in run.samples_ms


def test_a_call_has_nothing_to_open_or_to_tell() -> None:
    call = Call(call=list)
    assert call.open().load_ms == 0 and call.close() == Memory()
    with pytest.raises(GoneError, match="no stages"):
        call.stages(3)
