"""A process while it works -> the most memory that it held, and how much of a file it maps."""

import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

OURSELVES = Path("/proc/self")
POLL_SECONDS = 0.002  # reading costs about as much


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a process held; None where the platform does not tell."""

    peak_rss_mib: float | None = None  # shared pages counted whole
    peak_pss_mib: float | None = None  # shared pages counted by their share
    mapped_mib: float | None = None  # of the artifact's files, mapped rather than read

    def most(self, other: "Memory") -> "Memory":
        """The larger of each."""
        theirs = asdict(other)
        return Memory(
            **{
                name: max((one for one in (ours, theirs[name]) if one is not None), default=None)
                for name, ours in asdict(self).items()
            }
        )


def held(files: Iterable[Path], process: Path = OURSELVES) -> Memory:
    """What a process has held until now; of PSS no peak is kept, so none is told."""
    return Memory(peak_rss_mib=peak_rss_mib(process), mapped_mib=mapped_mib(files, process))


def weigh(work: Callable[[], object], files: Iterable[Path]) -> Memory:
    """What this process holds while it works once, looked at again and again: untimed work only."""
    seen: list[float] = []
    done = threading.Event()

    def look() -> None:
        while (now := pss_mib()) is not None:
            seen.append(now)
            if done.wait(POLL_SECONDS):
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    last = pss_mib()
    pss = None if last is None else max(*seen, last)
    return held(files).most(Memory(peak_pss_mib=pss))


def peak_rss_mib(process: Path = OURSELVES) -> float | None:
    """The most memory that a process has held at once, in MiB."""
    # getrusage is wrong in a child on Linux: it remembers the parent's peak across exec.
    peak = _field(process / "status", "VmHWM:")
    return _peak_from_usage() if peak is None and process == OURSELVES else peak


def pss_mib(process: Path = OURSELVES) -> float | None:
    """What a process holds now, in MiB, each page divided by the number of its holders."""
    return _field(process / "smaps_rollup", "Pss:")


def mapped_mib(files: Iterable[Path], process: Path = OURSELVES) -> float | None:
    """How much of these files a process has mapped, in MiB: 0 where it read them instead."""
    try:
        lines = (process / "maps").read_text(errors="replace").splitlines()
    except OSError:
        return None
    wanted = {str(file.resolve()) for file in files}
    return sum(size for path, size in _mappings(lines) if path in wanted) / (1 << 20)


def _mappings(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Path and bytes of each part of a file that is mapped, once however often it is mapped."""
    parts: dict[tuple[str, str], int] = {}
    for line in lines:
        reach, _, offset, _, _, *path = line.split(maxsplit=5)
        begin, _, end = reach.partition("-")
        key = "".join(path), offset
        parts[key] = max(parts.get(key, 0), int(end, 16) - int(begin, 16))
    return ((name, size) for (name, _), size in parts.items())


def _field(path: Path, name: str) -> float | None:
    """A field of a file of /proc that is told in kB, in MiB."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith(name)]
    return found[0] if found else None


def _peak_from_usage() -> float | None:
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if platform.system() == "Darwin" else 1 << 10)
