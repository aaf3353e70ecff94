from pathlib import Path

import pytest

from minuet.benchmarks.budget import Device, budget_of, find_budget, read_budget
from minuet.benchmarks.metrics import unit_of
from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.report import Machine

GOOD = {"metric": "total.p50", "at_most": 300, "unit": "ms"}


def test_the_shipped_budgets_say_what_was_promised() -> None:
    for name, ort, openvino in (("laptop-2core", 300, 200), ("laptop-2core-256", 150, 100)):
        limits = {
            (limit.runtime, limit.metric): limit.at_most
            for limit in read_budget(find_budget(name)).limits
        }
        assert limits["ort", "total.p50"] == ort
        assert limits["openvino", "total.p50"] == openvino


def test_every_shipped_budget_can_be_read() -> None:
    shipped = sorted((Path(find_budget("laptop-2core")).parent).glob("*.toml"))
    assert shipped
    for path in shipped:
        assert read_budget(path).limits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "total.p51"}, r"no metric is called 'total.p51'; there are: .*total\.p50"),
        ({"metric": "stage.text"}, "no metric is called"),
        ({"unit": "s"}, "total.p50 is measured in ms, not s"),
        ({"at_most": -1}, "at_most is above 0, got -1"),
        ({"at_most": float("nan")}, "at_most is above 0, got nan"),
        ({"at_most": "300"}, "at_most is a number, got '300'"),
        ({"at_most": True}, "at_most is a number, got True"),
        ({"metric": 5}, "names and unit are text, got 5"),
        ({"runtime": 4}, "names and unit are text, got 4"),
        ({"at_least": 3}, "at_most or at_least, one of them"),
        ({"at_most": None}, "at_most or at_least, one of them"),
        ({"at_mots": 3}, "a limit is not written like this: .*'at_mots'"),
        ({"at_most": 10**400}, "at_most is above 0"),
        ({"metric": "off."}, "no metric is called 'off.'"),
        ({"metric": "energy"}, "energy is measured in mJ, not ms"),
    ],
)
def test_a_wrong_limit_is_refused_with_what_is_wrong(
    change: dict[str, object], message: str
) -> None:
    assert budget_of({"schema": 1, "name": "x", "limits": [GOOD]}).limits[0].at_most == 300
    with pytest.raises(RequestError, match=message):
        budget_of({"schema": 1, "name": "x", "limits": [GOOD | change]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"schema": 2, "name": "x", "limits": [GOOD]}, "schema 2 is not 1"),
        ({"schema": 1, "name": "x"}, r"at least one \[\[limits\]\]"),
        ({"schema": 1, "limits": [GOOD]}, "missing 1 required"),
        ({"schema": 1, "name": "x", "limits": [GOOD], "level": 2}, "0.5 < level < 1"),
        ({"schema": 1, "name": 7, "limits": [GOOD]}, "name is text and size whole, got 7"),
        ({"schema": 1, "name": "x", "size": "big", "limits": [GOOD]}, "got 'x', 'big'"),
        ({"schema": 1, "name": "x", "limits": [GOOD], "level": "high"}, "are numbers, got 'high'"),
        ({"schema": 1, "name": "x", "limits": [GOOD], "device": 3}, "a device is a table, got 3"),
        ({"schema": 1, "name": "x", "limits": [GOOD], "device": {"gpu": "x"}}, "'gpu'"),
        ({"schema": 1, "name": "x", "limits": [GOOD], "device": {"cores": "2"}}, "a whole number"),
        ({"schema": 1, "name": "x", "limits": [GOOD], "compare": "total.p50"}, "list of metrics"),
        ({"schema": 1, "name": "x", "limits": [GOOD], "compare": ["speed"]}, "no metric is called"),
        ({"schema": 1, "name": "x", "limits": [GOOD], "compare": ["off.x"]}, "give it a limit"),
        ({"schema": 1, "name": "x", "limits": ["fast"]}, "a limit is a table, got 'fast'"),
    ],
)
def test_a_wrong_budget_is_refused_with_what_is_wrong(
    value: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        budget_of(value)


def test_a_file_that_is_no_toml_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text("limits = [[[")
    with pytest.raises(DamagedError, match=r"b\.toml: not readable as TOML"):
        read_budget(path)
    with pytest.raises(DamagedError, match="missing"):
        read_budget(tmp_path / "none.toml")


def test_a_number_without_end_is_damage(tmp_path: Path) -> None:
    (tmp_path / "budget.toml").write_text("size = " + "9" * 5000)
    with pytest.raises(DamagedError, match="not readable as TOML"):
        read_budget(tmp_path / "budget.toml")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"no budget is called 'phone'.*laptop-2core"):
        find_budget("phone")


def test_stages_have_quantiles_in_milliseconds() -> None:
    assert unit_of("stage.text.p90") == "ms" and unit_of("peak_rss") == "MiB"


def test_a_device_is_named_by_patterns() -> None:
    machine = Machine(cpu="Example 9000", cores=2, memory_mib=1, os="Linux 6.1", python="3.11")
    assert Device().strange(machine) == Device(cpu="Example*", os="Linux*", cores=2).strange(
        machine
    )
    assert Device().strange(machine) == ()
    (cpu, cores) = Device(cpu="*Gen 3", cores=8).strange(machine)
    assert cpu == "cpu 'Example 9000', not '*Gen 3'" and cores == "cores 2, not 8"


def test_nothing_may_run_elsewhere_and_nothing_may_cost_nothing() -> None:
    off = {"metric": "off.CPUExecutionProvider", "at_most": 0}
    assert budget_of({"schema": 1, "name": "x", "limits": [off]}).limits[0].value == 0
    with pytest.raises(RequestError, match="above 0, got 0"):
        budget_of({"schema": 1, "name": "x", "limits": [GOOD | {"at_most": 0}]})
