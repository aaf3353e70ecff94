"""Machine and artifacts -> what the numbers depend on, and how to get them again."""

import shlex
from collections.abc import Iterator, Sequence

from minuet.benchmarks.page_html import NOTHING, Part, listing, note, part, plain, table, tag
from minuet.benchmarks.page_words import amount, who
from minuet.contracts.report import BASE, Machine, Peaks, Report, Run


def machine(report: Report) -> Part:
    """The machine's fingerprint, and what in it a reader must know of."""
    facts = {
        **_facts(report.machine),
        "peaks": _peaks(report.peaks) if report.peaks else "",
        "clock tick": f"{report.clock_resolution_ns:g} ns",
        "harness": f"{report.overhead_us:.3g} us of each sample" if report.overhead_us else "",
        "measured at": report.measured_at,
        "minuet": f"{report.minuet}, seed {report.seed}",
    }
    known = [(key, value) for key, value in facts.items() if value and value != "unknown"]
    doubts = [note(f"? {doubt}") for doubt in _doubts(report.machine)]
    return part("Where it was measured", doubts, listing(known, "facts"))


def _facts(found: Machine) -> dict[str, str]:
    memory = f", {found.memory_mib} MiB" if found.memory_mib else ""
    quota = "" if found.quota_cores is None else f"{found.quota_cores:g} cores"
    return {
        "processor": f"{found.cpu}, {found.cores} cores{memory}",
        "quota": quota,
        "system": f"{found.os}, Python {found.python}",
        "hypervisor": found.virtual,
        "governor": found.governor,
        "turbo": found.turbo,
        "two threads a core": found.smt,
        "load before": f"{found.load_1min:g}",
        "libraries": ", ".join(f"{name} {word}" for name, word in sorted(found.versions.items())),
    }


def _peaks(peaks: Peaks) -> str:
    tops = ", ".join(f"{key} {amount(top, 'GFLOP/s', 3)}" for key, top in peaks.gflops.items())
    return f"{tops}; reads {amount(peaks.read_gbs, 'GB/s', 3)}; on {peaks.threads} threads"


def _doubts(found: Machine) -> Iterator[str]:
    if found.load_1min > found.cores / 2:
        yield f"Others were at work here: the load was {found.load_1min:g} before the first run."
    if found.throttled:
        yield f"Heat slowed a core {found.throttled} times meanwhile."


def again(report: Report, budget: str, command: str) -> Part:
    """The commands that lead to such a page, and the hashes of what was measured."""
    ran = [run for run in report.runs if not run.refusal]
    if not ran:
        return NOTHING
    lines = [_install(report, ran), plain(command) or _bench(report, ran)]
    if budget:
        lines.append(f"minuet gate report/ --budget budget.toml  # {_one_line(budget)}")
    rows = [
        [
            who(run),
            run.runtime_version,
            str(run.threads or "one a core"),
            tag("code", run.artifact_sha256),
        ]
        for run in report.runs
    ]
    return part(
        "Do it again",
        tag("pre", [tag("code", f"{line}\n") for line in lines]),
        table("What was measured", ("", "version", "threads", "SHA-256"), rows, words=(1, 3)),
    )


def _install(report: Report, ran: Sequence[Run]) -> str:
    pins = [
        f"{name}=={version}"
        for name, version in sorted(report.machine.versions.items())
        if any(run.runtime_version.startswith(f"{name} {version}") for run in ran)
    ]
    return " ".join(["pip install", *map(_quoted, [f"minuet=={report.minuet}", *pins])])


def _bench(report: Report, ran: Sequence[Run]) -> str:
    names = ",".join(dict.fromkeys(run.runtime for run in ran))
    samples = max(len(run.samples_ms.get("total", ())) for run in ran)
    words = [
        "minuet bench",
        f"{_quoted(report.bundle)}/",
        "-o report/",
        f"--runtimes {_quoted(names)}",
    ]
    words += [f"--samples {samples}", f"--seed {report.seed}"]
    threads = {run.threads for run in ran}
    if len(threads) == 1 and (count := threads.pop()):
        words.append(f"--threads {count}")
    words += ["--peaks"] if report.peaks else []
    words += ["--against old-bundle/"] if any(run.side == BASE for run in ran) else []
    return " ".join(words)


def _quoted(words: str) -> str:
    """A stranger's word that stays one word in a shell: people paste commands."""
    return shlex.quote(_one_line(words))


def _one_line(words: str) -> str:
    return plain(words).replace("\n", " ")
