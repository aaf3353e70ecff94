"""`ssh:pi@board,python=/opt/python` and its like -> a device."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from minuet.benchmarks.devices.adb import Adb
from minuet.benchmarks.devices.device import Device
from minuet.benchmarks.devices.mac import Mac
from minuet.benchmarks.devices.phone import Phone
from minuet.benchmarks.devices.posix import number
from minuet.benchmarks.devices.runners import ExecutorRunner, OrtPerfTest, Runner
from minuet.benchmarks.devices.shell import Local, Shell
from minuet.benchmarks.devices.ssh import Ssh
from minuet.benchmarks.devices.transcript import Recorder
from minuet.contracts.errors import RequestError

RUNNERS = ("ort", "executorch", "library", "provider")
KEYS = {
    "ssh": ("python", "port", "identity", "known_hosts", "temporary", *RUNNERS),
    "adb": RUNNERS,
    "ios": ("app",),
    "mac": (),
}
ALL = ("record", "cool")  # of every kind
FORMS = "ssh:[user@]host, adb[:serial], ios:name-or-udid or mac"

Options = Mapping[str, str]


def device_of(text: str, shell: Shell | None = None) -> Device:
    """The device that a word names; nothing is touched before `with`.

    Raises:
        RequestError: no such kind of device, an unknown option, or a value that cannot be one.
    """
    kind, name, options = parsed(text)
    shell = shell or Local()
    if "record" in options:
        shell = Recorder(shell, Path(options["record"]).expanduser())
    makers: dict[str, Callable[[], Device]] = {
        "ssh": lambda: _ssh(name, options, shell),
        "adb": lambda: Adb(serial=name, runners=runners(options), shell=shell),
        "ios": lambda: Phone(wanted=name, app=options.get("app", ""), shell=shell),
        "mac": lambda: Mac(platform=sys.platform, shell=shell),
    }
    return makers[kind]()


def parsed(text: str) -> tuple[str, str, Options]:
    """kind, name and options of `kind:name,key=value,...`."""
    head, *rest = text.split(",")
    kind, _, name = head.partition(":")
    if kind not in KEYS:
        raise RequestError(f"device {text!r:.80} is not understood; write {FORMS}.")
    options: dict[str, str] = {}
    for part in rest:
        key, equals, value = part.partition("=")
        known = (*KEYS[kind], *ALL)
        if key not in known or not equals or not value or key in options:
            raise RequestError(
                f"{part!r:.80} is not understood; device {kind} takes {', '.join(known)}."
            )
        options[key] = value
    return kind, name, options


def cool_seconds(text: str, usual: float) -> float:
    """How long a device may cool down: as its word says, else as usual.

    Raises:
        RequestError: its word says no time.
    """
    told = parsed(text)[2].get("cool", str(usual))
    seconds = number(told)
    if seconds is None or seconds < 0:
        raise RequestError(f"cool={told!r:.40}: write seconds, such as cool=600, or cool=0.")
    return seconds


def runners(options: Options) -> dict[str, Runner]:
    """The native runners that were named, by the runtime that each stands for.

    Raises:
        RequestError: one of the files is not here.
    """
    libraries = (_file(options, "library"),) if "library" in options else ()
    found: dict[str, Runner] = {}
    if "ort" in options:
        provider = options.get("provider", "cpu")
        binary = _file(options, "ort")
        found["ort"] = OrtPerfTest(binary=binary, libraries=libraries, provider=provider)
    if "executorch" in options:
        binary = _file(options, "executorch")
        found["executorch"] = ExecutorRunner(binary=binary, libraries=libraries)
    return found


def _ssh(host: str, options: Options, shell: Shell) -> Ssh:
    port = options.get("port", "22")
    if not port.isascii() or not port.isdigit():
        raise RequestError(f"port {port!r:.40} is not a number.")
    return Ssh(
        host=host,
        python=options.get("python", "python3"),
        port=int(port[:6]),
        identity=_file(options, "identity") if "identity" in options else None,
        known_hosts=_file(options, "known_hosts") if "known_hosts" in options else None,
        temporary=options.get("temporary", "/tmp"),
        runners=runners(options),
        shell=shell,
    )


def _file(options: Options, key: str) -> Path:
    path = Path(options[key]).expanduser()
    if not path.is_file():
        raise RequestError(f"{key}={path}: there is no such file here.")
    return path.resolve()
