import pytest

from minuet.benchmarks import overhead


def test_the_harness_adds_less_to_a_sample_than_it_promises() -> None:
    assert 0 < overhead.sample_us() < overhead.MOST_US


def test_a_child_is_asked_and_answers_in_less_than_a_run_takes() -> None:
    assert overhead.sample_us(500) < overhead.turn_us(turns=50) < 20_000


def test_it_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "overhead", lambda: overhead.Overhead(sample_us=2, turn_us=70))
    overhead.main()
    assert "in each sample      2.00 us (at most 20)" in capsys.readouterr().out
    slow = overhead.Overhead(sample_us=50, turn_us=70)
    monkeypatch.setattr(overhead, "overhead", lambda: slow)
    with pytest.raises(SystemExit, match=r"samples below 10\.0 ms are not exact"):
        overhead.main()
