"""Questions that any POSIX shell answers, and the strict reading of its answers."""

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath

from minuet.benchmarks.devices.device import UNKNOWN, State
from minuet.benchmarks.devices.shell import Done, plain
from minuet.benchmarks.subject import GoneError
from minuet.contracts.errors import RequestError
from minuet.contracts.report import Machine

MOST_LINES = 2000  # of an answer: sysfs has some dozen zones, a device that lies has more
LONGEST_NAME = 80

# Each line is a word and a value. Whatever is not there says nothing.
STATE = r"""
cat_ () { [ -r "$1" ] && cat "$1" 2>/dev/null; }
for z in /sys/class/thermal/thermal_zone[0-9]*; do
  [ -e "$z" ] || continue
  echo "zone $(cat_ "$z/temp") $(cat_ "$z/type")"
done
for c in /sys/class/thermal/cooling_device[0-9]*; do
  [ -e "$c" ] || continue
  echo "cooling $(cat_ "$c/cur_state") $(cat_ "$c/type")"
done
for b in /sys/class/power_supply/*; do
  [ "$(cat_ "$b/type")" = Battery ] && echo "battery $(cat_ "$b/capacity") $(cat_ "$b/status")"
done
echo "governor $(cat_ /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor)"
"""

MACHINE = r"""
echo "system $(uname -sr)"
echo "arch $(uname -m)"
echo "cores $(nproc)"
[ -r /proc/device-tree/model ] && echo "board $(tr -d '\0' < /proc/device-tree/model)"
sed -n -E 's/^model name[[:space:]]*: /cpu /p' /proc/cpuinfo | head -n 1
sed -n -E 's/^MemTotal:[[:space:]]*([0-9]+) kB/memory \1/p' /proc/meminfo
echo "load $(cut -d ' ' -f 1 /proc/loadavg)"
echo "governor $(cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null)"
"""

# Runs its arguments, and says five times a second what memory they hold. A zombie holds none.
WATCHED = r"""
"$@" &
p=$!
while grep -q '^State:[[:space:]]*[RSDT]' /proc/$p/status 2>/dev/null; do
  { cat /proc/$p/smaps_rollup; grep '^VmHWM:' /proc/$p/status; } 2>/dev/null \
    | sed -n -E 's/^(Pss|VmHWM):[[:space:]]*([0-9]+) kB/minuet-memory \1 \2/p' >&2
  sleep 0.2 2>/dev/null || sleep 1
done
wait $p
"""

COOLED = re.compile(r"cpu|processor|gpu|soc", re.IGNORECASE)  # what is slowed; a fan slows nothing
NAME = re.compile(r"(?!\.\.$)[A-Za-z0-9_.][A-Za-z0-9._+-]*")
FOLDER = re.compile(r"(/[A-Za-z0-9._-]+)+/minuet\.[A-Za-z0-9]{6,}")


def script(text: str, *arguments: str) -> list[str]:
    """A fixed script and its arguments as a command."""
    return ["sh", "-c", text, "sh", *arguments]


def safe_name(name: str) -> str:
    """A relative path whose every part is harmless in any shell.

    Raises:
        RequestError: it climbs, begins with a dash, or has odd signs.
    """
    parts = PurePosixPath(name).parts
    if not parts or name != "/".join(parts) or not all(map(NAME.fullmatch, parts)):
        raise RequestError(f"{name!r:.80}: a file of that name is not sent to a device; rename it.")
    return name


def private_folder(done: Done, where: str) -> str:
    """The folder that `mktemp -d` made.

    Raises:
        RequestError: there is none, or it is no folder of ours: it will be removed at the end.
    """
    folder = done.text.strip()
    if done.code or not FOLDER.fullmatch(folder) or ".." in folder:
        raise RequestError(f"{where}: no private folder could be made there: {done.last_words}.")
    return folder


def rows(text: str) -> list[tuple[str, str]]:
    """The lines of an answer as a word and its value.

    Raises:
        GoneError: there are far too many.
    """
    lines = text.splitlines()
    if len(lines) > MOST_LINES:
        raise GoneError(f"the device answered {len(lines)} lines; {MOST_LINES} are read at most")
    split = (line.strip().partition(" ") for line in lines if line.strip())
    return [(word, plain(value)) for word, _, value in split]


def linux_state(text: str) -> State:
    """What STATE said.

    A kernel calls no state nominal: a processor that one of its cooling devices holds back is
    "throttled", and one with cooling devices at rest is "nominal".
    """
    found = rows(text)
    zones = [number(value.split(" ")[0]) for word, value in found if word == "zone"]
    hot = [zone / 1000 for zone in zones if zone is not None and 0 < zone < 200_000]
    slowed = [
        number(value.split(" ")[0]) or 0
        for word, value in found
        if word == "cooling" and COOLED.search(value.partition(" ")[2])
    ]
    thermal = UNKNOWN if not slowed else "throttled" if max(slowed) > 0 else "nominal"
    percent, _, status = dict(found).get("battery", "").partition(" ")
    return State(
        thermal=thermal,
        hottest_c=max(hot, default=None),
        battery_percent=number(percent),
        charging=status in ("Charging", "Full", "Not charging") if status else None,
        governor=dict(found).get("governor") or UNKNOWN,
    )


def linux_machine(text: str) -> Machine:
    """What MACHINE said; without Python there, its version is empty."""
    found = dict(rows(text))
    name = " ".join(filter(None, (found.get("board"), found.get("cpu")))) or found.get("arch")
    return Machine(
        cpu=(name or UNKNOWN)[:LONGEST_NAME],
        cores=whole(found.get("cores")),
        memory_mib=whole(found.get("memory")) >> 10,
        os=(found.get("system") or UNKNOWN)[:LONGEST_NAME],
        python="",
        governor=found.get("governor") or UNKNOWN,
        load_1min=number(found.get("load")) or 0.0,
    )


def memory_mib(text: str, kind: str) -> float | None:
    """The most that WATCHED saw held: kind "Pss" or "VmHWM"; None where nothing was told."""
    told = re.findall(rf"^minuet-memory {kind} ([0-9]{{1,12}})$", text, re.MULTILINE)
    return max(map(int, told)) / 1024 if told else None


def number(text: str | None) -> float | None:
    """A plain decimal; None for anything else, NaN and infinity among it."""
    return float(text) if text and re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", text) else None


def whole(text: str | None) -> int:
    """A plain whole number; 0 for anything else."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,15}", text) else 0


def joined(words: Sequence[str]) -> str:
    """A command as one line that a POSIX shell takes apart into the same words."""
    return shlex.join(words)
