"""Documented answers of adb and of Xcode's tools -> the transcripts beside this file.

No device was asked: every number is made up, every format is copied from its source's print
statements or from its published documentation, which the header of each file names.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minuet.benchmarks.devices.adb import RAILS
from minuet.benchmarks.devices.posix import MACHINE, STATE, WATCHED, joined, script
from minuet.benchmarks.devices.shell import FILE
from minuet.benchmarks.devices.transcript import SCHEMA, WRITTEN, Exchange, Header

HERE = Path(__file__).parent
SERIAL = "R5CT000000A"
FOLDER = "/data/local/tmp/minuet.a1B2c3D4"

AOSP = "https://android.googlesource.com/platform/frameworks/base"
ADB_SOURCES = (
    "adb devices, adb push: https://developer.android.com/tools/adb",
    f"dumpsys thermalservice: {AOSP} ThermalManagerService.dump, android.os.Temperature.toString",
    "... and a listing of it: https://android.stackexchange.com/questions/246774",
    f"dumpsys battery: {AOSP} BatteryService.dumpInternal",
    f"set-fixed-performance-mode-enabled: {AOSP} PowerManagerShellCommand",
    "onnxruntime_perf_test: https://github.com/microsoft/onnxruntime "
    "onnxruntime/test/perftest/performance_runner.cc",
    "executor_runner: https://github.com/pytorch/executorch "
    "examples/portable/executor_runner/executor_runner.cpp",
    "energy_value: https://android.googlesource.com/kernel/google-modules "
    "ODPM driver, energy_value_show",
)
XCODE_SOURCES = (
    "devicectl list devices, process launch: https://github.com/flutter/flutter "
    "packages/flutter_tools/test/general.shard/ios/core_devices_test.dart",
    "... and https://github.com/qt-creator/qt-creator tst_devicectlutils.cpp",
    "coremlcompiler compile: `xcrun coremlcompiler help`",
)
PMSET_SOURCES = ("pmset -g therm, pmset -g batt: man 1 pmset",)

THERMAL = """IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 1
\tkilled: false
\tbroadcasts count: -1
ThermalStatusListeners:
\tcallbacks: 4
\tkilled: false
\tbroadcasts count: -1
Thermal Status: %d
Cached temperatures:
\tTemperature{mValue=99.0, mType=0, mName=AP, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tTemperature{mValue=%.1f, mType=0, mName=AP, mStatus=0}
\tTemperature{mValue=23.8, mType=2, mName=BAT, mStatus=0}
\tTemperature{mValue=24.7, mType=3, mName=SKIN, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 3500000
  status: 2
  health: 2
  present: true
  level: 84
  scale: 100
  voltage: 4063
  temperature: 326
  technology: Li-ion
"""
KERNEL = "governor schedutil\n"
ABOUT = """system Linux 5.10.0-android13
arch aarch64
cores 8
memory 7654321
load 3.25
governor schedutil
"""
PROPERTIES = {
    "ro.product.model": "Example 9\n",
    "ro.soc.model": "EX9000\n",
    "ro.build.version.release": "14\n",
    "ro.build.id": "UP1A.000000.000\n",
}


def adb(*words: str, **said: Any) -> Exchange:
    """A command in the phone's shell."""
    return Exchange(run=("adb", "-s", SERIAL, "shell", joined(words)), **said)


def pushed(name: str, there: str) -> Exchange:
    """A file sent."""
    said = f"<{name}>: 1 file pushed, 0 skipped. 30.0 MB/s (4096 bytes in 0.000s)\n"
    run = ("adb", "-s", SERIAL, "push", f"<{name}>", f"{FOLDER}/{there}")
    return Exchange(run=run, out=said)


def begun(*, fixed: bool = True) -> list[Exchange]:
    """The phone is found, and prepared."""
    listed = f"List of devices attached\n{SERIAL}\tdevice\n\n"
    refused = (
        "Failed to set FIXED_PERFORMANCE mode\n"
        "This is likely because Power HAL AIDL is not implemented on this device\n"
    )
    said: dict[str, Any] = {} if fixed else {"code": 255, "err": refused}
    return [
        Exchange(run=("adb", "devices"), out=listed),
        adb("mktemp", "-d", "/data/local/tmp/minuet.XXXXXXXX", out=f"{FOLDER}\n"),
        adb("cmd", "power", "set-fixed-performance-mode-enabled", "true", **said),
    ]


def ended(*, fixed: bool = True) -> list[Exchange]:
    """The phone is as it was."""
    off = [adb("cmd", "power", "set-fixed-performance-mode-enabled", "false")]
    return [adb("rm", "-rf", FOLDER), *(off if fixed else [])]


def state(status: int = 0, degrees: float = 31.5) -> list[Exchange]:
    """One look at heat and battery."""
    return [
        adb(*script(STATE), out=KERNEL),
        adb("dumpsys", "thermalservice", out=THERMAL % (status, degrees)),
        adb("dumpsys", "battery", out=BATTERY),
    ]


def machine() -> list[Exchange]:
    """Its fingerprint."""
    return [
        adb(*script(MACHINE), out=ABOUT),
        *(adb("getprop", name, out=value) for name, value in PROPERTIES.items()),
    ]


def sent_ort() -> list[Exchange]:
    """Runner, model and inputs."""
    inner = "bundle-1/onnx-fp32"
    program = f"{FOLDER}/onnxruntime_perf_test"
    return [
        pushed("onnxruntime_perf_test", "onnxruntime_perf_test"),
        adb("chmod", "700", program),
        adb("mkdir", "-p", f"{FOLDER}/{inner}"),
        pushed("model.onnx", f"{inner}/model.onnx"),
        adb("mkdir", "-p", f"{FOLDER}/{inner}/test_data_set_0"),
        pushed("0", f"{inner}/test_data_set_0/input_0.pb"),
    ]


def ort(call: int, times_s: Iterable[float], *, subject: int = 1) -> list[Exchange]:
    """One process of onnxruntime_perf_test, and its file."""
    times = list(times_s)
    name = f"subject-{subject}-{call}.csv"
    said = (
        "Session creation time cost: 0.0421 s\nFirst inference time cost: 57 ms\n"
        f"Total inference time cost: {sum(times):g} s\nTotal inference requests: {len(times)}\n"
        f"Average inference time cost: {1e3 * sum(times) / len(times):g} ms\n"
        f"Total inference run time: {sum(times):g} s\nNumber of inferences per second: 30.1 \n"
        "Avg CPU usage: 48 %\nPeak working set size: 91234304 bytes\n"
    )
    lines = "".join(f"onnx-fp32,{took:g},91234304,48,{at}\n" for at, took in enumerate(times))
    return [
        adb(*ort_command(len(times), name), out=said, seconds=sum(times)),
        adb("cat", f"{FOLDER}/{name}", out=lines),
    ]


def ort_command(runs: int, name: str) -> list[str]:
    """How it is called."""
    return [
        *(f"{FOLDER}/onnxruntime_perf_test", "-m", "times", "-r", str(runs), "-e", "xnnpack"),
        *("-x", "4", f"{FOLDER}/bundle-1/onnx-fp32/model.onnx", f"{FOLDER}/{name}"),
    ]


def weighed(call: int, runs: int) -> Exchange:
    """One process, and what it held meanwhile."""
    told = "minuet-memory Pss 70000\nminuet-memory VmHWM 90000\nminuet-memory Pss 81920\n"
    command = ort_command(runs, f"subject-1-{call}.csv")
    return adb(*script(WATCHED, *command), err=f"{told}minuet-memory VmHWM 92160\n")


def sent_executorch() -> list[Exchange]:
    """Runner, program and inputs."""
    inner = "bundle-1/executorch-fp32"
    return [
        pushed("executor_runner", "executor_runner"),
        adb("chmod", "700", f"{FOLDER}/executor_runner"),
        adb("mkdir", "-p", f"{FOLDER}/{inner}"),
        pushed("model.pte", f"{inner}/model.pte"),
        adb("mkdir", "-p", f"{FOLDER}/{inner}/inputs"),
        pushed("0", f"{inner}/inputs/0.bin"),
    ]


def executorch(call: int, times_ms: Iterable[float], *flags: str, subject: int = 1) -> Exchange:
    """One process of executor_runner: its log goes to standard error."""
    times, where = list(times_ms), "executorch:executor_runner.cpp"
    lines = [
        f"I 00:00:00.000312 {where}:378] Model file {FOLDER}/model.pte is loaded.",
        f"I 00:00:00.000330 {where}:388] Using method forward",
        f"I 00:00:00.018214 {where}:512] Model loaded in 17.902000 ms.",
        *(
            f"I 00:00:0{at}.063214 {where}:667] Iteration {at + 1} of {len(times)}: {took:f} ms"
            for at, took in enumerate(times)
        ),
        f"I 00:00:09.000000 {where}:676] Model executed successfully {len(times)} time(s) in "
        f"{sum(times):f} ms.",
        f"I 00:00:09.000010 {where}:685] 1 outputs: ",
    ]
    inner = f"{FOLDER}/bundle-1/executorch-fp32"
    command = [
        f"{FOLDER}/executor_runner",
        f"--model_path={inner}/model.pte",
        f"--inputs={inner}/inputs/0.bin",
        f"--num_executions={len(times)}",
        "--cpu_threads=4",
        *flags,
    ]
    return adb(*command, out="OutputX 0: tensor(sizes=[64, 64], [1., 2.])\n", err="\n".join(lines))


def rails(uws: int) -> Exchange:
    """The Pixel's power rails at one moment."""
    told = f"t=1000\nCH0(T=1000)[S2M_VDD_CPUCL2], {uws}\nCH1(T=1000)[S3M_VDD_CPUCL1], 500\n"
    return adb("sh", "-c", RAILS, out=told)


def phone_list() -> str:
    """Two phones, one of them out of reach."""
    return json.dumps(
        {
            "info": {
                "commandType": "devicectl.list.devices",
                "jsonVersion": 2,
                "outcome": "success",
                "version": "397.28",
            },
            "result": {
                "devices": [
                    phone_row("AAAAAAAA-1111-2222-3333-BBBBBBBBBBBB", "My iPhone", "connected"),
                    phone_row("CCCCCCCC-1111-2222-3333-DDDDDDDDDDDD", "Old iPhone", "unavailable"),
                ]
            },
        }
    )


def phone_row(identifier: str, name: str, tunnel: str) -> dict[str, Any]:
    """One phone, as devicectl lists it."""
    return {
        "capabilities": [],
        "connectionProperties": {
            "authenticationType": "manualPairing",
            "pairingState": "paired",
            "transportType": "wired",
            "tunnelState": tunnel,
        },
        "deviceProperties": {
            "developerModeStatus": "enabled",
            "name": name,
            "osVersionNumber": "18.2",
        },
        "hardwareProperties": {
            "deviceType": "iPhone",
            "marketingName": "iPhone 16",
            "platform": "iOS",
            "productType": "iPhone17,3",
            "udid": "00001234-000000001234CDEF",
        },
        "identifier": identifier,
        "visibilityClass": "default",
    }


APP = "com.example.bench"
PHONE = "AAAAAAAA-1111-2222-3333-BBBBBBBBBBBB"
CONTAINER = ("--domain-type", "appDataContainer", "--domain-identifier", APP)


def devicectl(*words: str, result: Any = None) -> Exchange:
    """A command that succeeded."""
    answer = {"info": {"outcome": "success", "jsonVersion": 2}, "result": result or {}}
    return Exchange(
        run=("xcrun", "devicectl", *words, "--json-output", FILE), file=json.dumps(answer)
    )


def copied(name: str, there: str) -> Exchange:
    """A file sent into the app's container."""
    words = ("device", "copy", "to", "--source", f"<{name}>", "--destination", there)
    return devicectl(*words, "--device", PHONE, *CONTAINER)


def launched(place: str, told: dict[str, Any]) -> list[Exchange]:
    """The app ran to its end, and left its answer."""
    process = {"process": {"processIdentifier": 1234, "executable": "file:///private/var/app"}}
    options = ("--device", PHONE, "--console", "--terminate-existing", APP, "--minuet", place)
    words = ("device", "copy", "from", "--source", f"{place}/told.json", "--destination", FILE)
    return [
        devicectl("device", "process", "launch", *options, result=process),
        Exchange(
            run=("xcrun", "devicectl", *words, "--device", PHONE, *CONTAINER),
            file=json.dumps(told),
        ),
    ]


def app_told(*runs_ms: float, **also: Any) -> dict[str, Any]:
    """What the app answers."""
    told = {"load_ms": 210.5, "runs_ms": list(runs_ms), "version": "Core ML, iOS 18.2"}
    return told | {"thermal": "nominal", "low_power": False, "peak_mib": 96.5} | also


def iphone() -> list[Exchange]:
    """The whole way once."""
    place = "Documents/minuet/subject-1"
    compile_words = ("xcrun", "coremlcompiler", "compile", "<model.mlpackage>", "<compiled>")
    return [
        Exchange(
            run=("xcrun", "devicectl", "list", "devices", "--json-output", FILE), file=phone_list()
        ),
        Exchange(run=compile_words, out="compiled/model.mlmodelc/coremldata.bin\n"),
        copied("model.mlmodelc", f"{place}/model.mlmodelc"),
        copied("told.json", f"{place}/told.json"),
        copied("job.json", f"{place}/job.json"),
        copied("0.bin", f"{place}/0.bin"),
        *launched(place, app_told(51.5)),
        copied("told.json", f"{place}/told.json"),
        copied("job.json", f"{place}/job.json"),
        *launched(place, app_told(30.0, 20.0, 15.0, 11.0, 12.0, peak_mib=97.0)),
    ]


def iphone_hot() -> list[Exchange]:
    """Asked for its state only: fair, then nominal."""
    found: list[Exchange] = [iphone()[0]]
    place = "Documents/minuet/state"
    for thermal in ("fair", "nominal"):
        low = thermal == "fair"
        found += [
            copied("told.json", f"{place}/told.json"),
            copied("job.json", f"{place}/job.json"),
            *launched(place, app_told(thermal=thermal, low_power=low, battery_percent=80.0)),
        ]
    return found


def mac() -> list[Exchange]:
    """Two looks: calm on Apple silicon, slowed on Intel."""
    calm = (
        "Note: No thermal warning level has been recorded\n"
        "Note: No performance warning level has been recorded\n"
        "Note: No CPU power status has been recorded\n"
    )
    slowed = (
        "Note: No thermal warning level has been recorded\n"
        "2026-01-01 12:00:00 +0100 CPU Power notify\n"
        "\tCPU_Scheduler_Limit \t= 100\n\tCPU_Available_CPUs \t= 8\n\tCPU_Speed_Limit \t= 72\n"
    )
    battery = "Now drawing from '%s'\n -InternalBattery-0 (id=1234567)\t95%%; %s present: true\n"
    therm, batt = ("pmset", "-g", "therm"), ("pmset", "-g", "batt")
    return [
        Exchange(run=therm, out=calm),
        Exchange(run=batt, out=battery % ("AC Power", "charged; 0:00 remaining")),
        Exchange(run=therm, out=slowed),
        Exchange(run=batt, out=battery % ("Battery Power", "discharging; 3:10 remaining")),
    ]


def conversations() -> dict[str, tuple[tuple[str, ...], list[Exchange]]]:
    """File name -> sources and exchanges."""
    ort_turns = [
        *sent_ort(),
        *ort(1, [0.0571]),
        *ort(2, [0.05, 0.04, 0.035, 0.0301, 0.0303]),
        weighed(3, 3),
    ]
    executorch_turns = [
        *sent_executorch(),
        executorch(1, [61.25]),
        executorch(2, [50.0, 42.0, 41.0, 40.5, 40.75]),
    ]
    left = f"adb: device '{SERIAL}' not found\n"
    gone = ort_command(5, "subject-1-3.csv")
    return {
        "adb-ort": (ADB_SOURCES, [*begun(), *machine(), *state(), *ort_turns, *ended()]),
        "adb-executorch": (ADB_SOURCES, [*begun(), *executorch_turns, *ended()]),
        "adb-hot": (
            ADB_SOURCES,
            [
                *begun(fixed=False),
                *state(3, 47.0),
                *state(2, 44.0),
                *state(0, 38.0),
                *ended(fixed=False),
            ],
        ),
        "adb-always-hot": (ADB_SOURCES, [*begun(), *state(3, 47.0) * 3, *ended()]),
        "adb-leaves": (
            ADB_SOURCES,
            [
                *begun(),
                *sent_ort(),
                *ort(1, [0.0571]),
                *ort(2, [0.05, 0.04, 0.035, 0.0301, 0.0303]),
                adb(*gone, code=1, err=left),
                *(Exchange(run=one.run, code=1, err=left) for one in ended()),
            ],
        ),
        "adb-rails": (
            ADB_SOURCES,
            [
                *begun(),
                *sent_ort(),
                rails(1_000_000),
                *ort(1, [0.03] * 3),
                rails(1_400_000),
                rails(1_500_000),
                *ort(2, [0.03] * 13),
                rails(2_900_000),
                *ended(),
            ],
        ),
        "ios": (XCODE_SOURCES, iphone()),
        "ios-hot": (XCODE_SOURCES, iphone_hot()),
        "mac": (PMSET_SOURCES, mac()),
    }


def write() -> None:
    """All of them."""
    for name, (sources, exchanges) in conversations().items():
        header = Header(transcript=SCHEMA, made=WRITTEN, sources=sources)
        rows = [asdict(header), *(asdict(one) for one in exchanges)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (HERE / f"{name}.jsonl").write_text(lines)


if __name__ == "__main__":
    write()
