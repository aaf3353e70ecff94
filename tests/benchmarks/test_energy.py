import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from minuet.benchmarks.energy import Rapl, find_meter, rapl_zones
from minuet.contracts.errors import Refusal

RANGE_UJ = 262_143_328_850


def zone(root: Path, folder: str, name: str, energy_uj: int) -> Path:
    place = root / folder
    place.mkdir(parents=True)
    (place / "name").write_text(f"{name}\n")
    (place / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (place / "energy_uj").write_text(f"{energy_uj}\n")
    return place / "energy_uj"


def test_packages_and_memory_are_counted_and_nothing_twice(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 2_000)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 3_000)
    others = [
        zone(tmp_path, "intel-rapl:0:0", "core", 0),
        zone(tmp_path, "intel-rapl:2", "psys", 0),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    meter = find_meter(tmp_path)
    assert isinstance(meter, Rapl)
    meter.start()
    first.write_text("501000\n")
    second.write_text("202000\n")
    memory.write_text("103000\n")
    for other in others:
        other.write_text("7000000\n")
    assert meter.stop() == pytest.approx(500 + 200 + 100)


def test_a_counter_that_began_again_has_lost_nothing(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 4_000)
    meter = find_meter(tmp_path)
    assert isinstance(meter, Rapl)
    meter.start()
    counter.write_text("6000\n")
    assert meter.stop() == pytest.approx(10)


def test_a_counter_that_may_not_be_read_says_how_to_allow_it(as_nobody: Path) -> None:
    refusal = find_meter(as_nobody)
    assert isinstance(refusal, Refusal) and "as root: chmod a+r" in refusal.reason


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A zone that only its owner may read, while this process is somebody else."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        zone(root, "intel-rapl:0", "package-0", 1).chmod(0)
        root.chmod(0o755)
        owner = os.geteuid()
        if owner == 0:  # who may read everything
            os.seteuid(65534)
        yield root
        os.seteuid(owner)


def test_a_counter_that_vanishes_while_it_counts_is_a_reason_and_no_number(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    meter = find_meter(tmp_path)
    assert isinstance(meter, Rapl)
    meter.start()
    counter.unlink()
    stopped = meter.stop()
    assert isinstance(stopped, Refusal) and "energy_uj cannot be read" in stopped.reason


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    refusal = find_meter(tmp_path / "nothing")
    assert isinstance(refusal, Refusal) and "no energy counters" in refusal.reason
    zone(tmp_path, "intel-rapl:0", "core", 1)
    assert rapl_zones(tmp_path) == ()


def test_a_damaged_counter_is_a_reason(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1).write_text("many\n")
    refusal = find_meter(tmp_path)
    assert isinstance(refusal, Refusal) and "cannot be read" in refusal.reason
