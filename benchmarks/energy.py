"""A stretch of work -> the energy that the machine spent on it, where the platform meters it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from minuet.contracts.errors import Refusal

POWERCAP = Path("/sys/class/powercap")
RAPL_SECONDS = 2.0  # the counters move every millisecond


class Meter(Protocol):
    """Something that counts energy, the whole machine's if it cannot tell one process apart."""

    seconds: float  # of work between start and stop for a figure that can be believed

    def start(self) -> None:
        """Begin to count."""
        ...

    def stop(self) -> float | Refusal:
        """Millijoules since `start`, or why they are not known."""
        ...


def find_meter(root: Path = POWERCAP) -> Meter | Refusal:
    """This machine's meter."""
    zones = rapl_zones(root)
    if not zones:
        return Refusal("this machine has no energy counters (RAPL) that its system shows")
    meter = Rapl(zones=zones)
    found = meter.read()
    return found if isinstance(found, Refusal) else meter


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """One counter of microjoules, which begins again when it is full."""

    name: str
    folder: Path
    range_uj: int

    def read_uj(self) -> int | Refusal:
        """The counter, or why it cannot be read."""
        path = self.folder / "energy_uj"
        try:
            return int(path.read_text())
        except PermissionError:
            return Refusal(f"reading {path} is not permitted; as root: chmod a+r {path}")
        except (OSError, ValueError) as error:
            return Refusal(f"{path} cannot be read: {error}")

    def between(self, before_uj: int, after_uj: int) -> int:
        """Microjoules from one reading to a later one, before it has gone round twice."""
        went_round = after_uj < before_uj
        return after_uj - before_uj + (self.range_uj if went_round else 0)


@dataclass(slots=True, kw_only=True)
class Rapl:
    """Linux's running average power limit counters: packages and memory, of all processes."""

    zones: tuple[Zone, ...]
    seconds: float = RAPL_SECONDS
    _before: dict[str, int] | Refusal = field(default_factory=dict[str, int])

    def start(self) -> None:
        """Read the counters."""
        self._before = self.read()

    def stop(self) -> float | Refusal:
        """Read them again."""
        before, after = self._before, self.read()
        for found in (before, after):
            if isinstance(found, Refusal):
                return found
        assert isinstance(before, dict) and isinstance(after, dict)
        spent_uj = sum(one.between(before[one.name], after[one.name]) for one in self.zones)
        return spent_uj / 1e3

    def read(self) -> dict[str, int] | Refusal:
        """Zone -> microjoules."""
        found: dict[str, int] = {}
        for zone in self.zones:
            now = zone.read_uj()
            if isinstance(now, Refusal):
                return now
            found[zone.name] = now
        return found


def rapl_zones(root: Path = POWERCAP) -> tuple[Zone, ...]:
    """Every package, and the memory where it is counted by itself.

    Cores and graphics are parts of their package, and psys holds the packages again: none of them
    is counted twice. AMD's counters bear Intel's name, too.
    """
    found: list[Zone] = []
    for folder in sorted(root.glob("intel-rapl:*")):
        try:
            name = (folder / "name").read_text().strip()
            range_uj = int((folder / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            continue
        if name.startswith("package") or name == "dram":
            found.append(Zone(name=folder.name, folder=folder, range_uj=range_uj))
    return tuple(found)
