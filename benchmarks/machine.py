"""This machine -> its fingerprint: what numbers depend on besides the artifact."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from minuet.contracts.report import Machine

LIBRARIES = (
    *("numpy", "onnxruntime", "openvino", "executorch", "torch"),
    *("coremltools", "tensorrt", "tensorrt_rtx"),
)
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def fingerprint(libraries: Iterable[str] = LIBRARIES) -> Machine:
    """Describe this machine; what cannot be read is "unknown", never guessed."""
    return Machine(
        cpu=cpu_name(),
        cores=usable_cores(),
        memory_mib=memory_mib(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        governor=_first_line(GOVERNOR) or "unknown",
        load_1min=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
        versions=versions(libraries),
    )


def strangers(ours: Machine, theirs: Machine) -> tuple[str, ...]:
    """Why two machines' numbers may not be compared; empty where they may."""
    system = (ours.os.split()[0], theirs.os.split()[0]) if ours.os and theirs.os else ("", "")
    pairs = {
        "cpu": (ours.cpu, theirs.cpu),
        "cores": (ours.cores, theirs.cores),
        "system": system,
        "governor": (ours.governor, theirs.governor),
    }
    return tuple(f"{name} {a!r} and {b!r}" for name, (a, b) in pairs.items() if a != b)


def cpu_name() -> str:
    """The processor's marketing name."""
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or "unknown"
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine() or "unknown"


def usable_cores() -> int:
    """Cores that this process may use: affinity, then the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = (_first_line(QUOTA) or "max").partition(" ")
    if quota.isdigit() and period.isdigit():
        return max(1, min(cores or 1, round(int(quota) / int(period))))
    return cores or 1


def memory_mib() -> int:
    """Memory of the machine; 0 where it cannot be read."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    except (ValueError, OSError, AttributeError):
        return 0


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """The installed version of each library that is here."""
    found: dict[str, str] = {}
    for name in libraries:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_rss_mib() -> float | None:
    """The most memory this process has held at once, in MiB; None where it is not told."""
    # getrusage is wrong in a child on Linux: it remembers the parent's peak across exec.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return _peak_from_usage()


def _peak_from_usage() -> float | None:
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if platform.system() == "Darwin" else 1 << 10)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip().partition("\n")[0]
    except OSError:
        return ""


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
