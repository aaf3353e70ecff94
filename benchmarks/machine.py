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
ROOT, CPU = Path("/"), "sys/devices/system/cpu"
UNKNOWN = "unknown"


def fingerprint(libraries: Iterable[str] = LIBRARIES, root: Path = ROOT) -> Machine:
    """Describe this machine; what cannot be read is "unknown", never guessed.

    Args:
        root: of the files in which Linux describes itself.
    """
    return Machine(
        cpu=cpu_name(root),
        cores=usable_cores(root),
        memory_mib=memory_mib(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        governor=_first_line(root / CPU / "cpu0/cpufreq/scaling_governor") or UNKNOWN,
        load_1min=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
        versions=versions(libraries),
        turbo=turbo(root),
        smt=smt(root),
        virtual=virtual(root),
        quota_cores=quota_cores(root),
    )


def strangers(ours: Machine, theirs: Machine) -> tuple[str, ...]:
    """Why two machines' numbers may not be compared; empty where they may."""
    system = (ours.os.split()[0], theirs.os.split()[0]) if ours.os and theirs.os else ("", "")
    pairs = {
        "cpu": (ours.cpu, theirs.cpu),
        "cores": (ours.cores, theirs.cores),
        "system": system,
        "governor": (ours.governor, theirs.governor),
        **{
            name: told  # an older report does not tell
            for name in ("turbo", "smt", "virtual")
            if UNKNOWN not in (told := (getattr(ours, name), getattr(theirs, name)))
        },
    }
    return tuple(f"{name} {a!r} and {b!r}" for name, (a, b) in pairs.items() if a != b)


def cpu_name(root: Path = ROOT) -> str:
    """The processor's marketing name."""
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or UNKNOWN
    lines = _lines(root / "proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or UNKNOWN


def usable_cores(root: Path = ROOT) -> int:
    """Cores that this process may use: affinity, then the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = quota_cores(root)
    return max(1, min(cores or 1, round(quota))) if quota else cores or 1


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


def turbo(root: Path = ROOT) -> str:
    """Whether cores may run above their rated clock: on, off, or unknown."""
    cpu = root / CPU
    for path, off in ((cpu / "intel_pstate/no_turbo", "1"), (cpu / "cpufreq/boost", "0")):
        if found := _first_line(path):
            return "off" if found == off else "on"
    return UNKNOWN


def smt(root: Path = ROOT) -> str:
    """Whether two threads share a core: on, off, or unknown."""
    return {"1": "on", "0": "off"}.get(_first_line(root / CPU / "smt/active"), UNKNOWN)


def virtual(root: Path = ROOT) -> str:
    """Whether a hypervisor is below the system: yes, no, or unknown."""
    if platform.system() == "Darwin":
        said = _output(["sysctl", "-n", "kern.hv_vmm_present"])
        return {"1": "yes", "0": "no"}.get(said, UNKNOWN)
    flags = [line for line in _lines(root / "proc/cpuinfo") if line.startswith("flags")]
    if not flags:  # only x86 has a flag for it
        return "yes" if (root / "sys/hypervisor/type").exists() else UNKNOWN
    return "yes" if "hypervisor" in flags[0].split() else "no"


def quota_cores(root: Path = ROOT) -> float | None:
    """Cores' worth of time that a container grants; None where no quota is found."""
    groups = root / "sys/fs/cgroup"
    quota, _, period = _first_line(groups / "cpu.max").partition(" ")
    if not quota:  # cgroup 1
        quota = _first_line(groups / "cpu/cpu.cfs_quota_us")
        period = _first_line(groups / "cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period):
        return int(quota) / int(period)
    return None


def throttles(root: Path = ROOT) -> int | None:
    """How often heat has slowed a core since the system began; None where nobody counts."""
    counts = [
        int(told)
        for path in (root / CPU).glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
        if (told := _first_line(path)).isdigit()
    ]
    return sum(counts) if counts else None


def _first_line(path: Path) -> str:
    return next(iter(_lines(path)), "").strip()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
