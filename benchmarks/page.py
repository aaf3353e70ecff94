"""Report, verdicts, stickers -> one self-contained HTML page: verdict first, nothing fetched."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minuet.benchmarks.draw import Line, latencies
from minuet.benchmarks.gate import FAIL, INCONCLUSIVE, PASS, Verdict, figure, outcome_of
from minuet.benchmarks.page_style import STYLE
from minuet.benchmarks.quality import METRICS
from minuet.benchmarks.stages import Share, doubt, shares
from minuet.benchmarks.stats import Interval, quantile
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.report import Report, Run

# Nothing is loaded and nothing runs, whatever a report's words contain.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
LOOKS = {PASS: ("pass", "✓", "Passes"), FAIL: ("fail", "✗", "Fails")}
LOOKS[INCONCLUSIVE] = ("doubt", "?", "Not enough evidence")
UNKNOWN = "&ndash;"
BETTER = {"higher": "higher is better", "lower": "lower is better", "one": "1 is the truth's own"}
FEWEST = {0.5: 1, 0.9: 20, 0.99: 100}  # samples below which a quantile is only its extremes
PARITY = {"pass": ("pass", "✓"), "fail": ("fail", "✗")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A sticker that plays on the page."""

    title: str
    webp: bytes
    size: int  # pixels a side


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a page tells; all but the report may be missing."""

    report: Report
    verdicts: Sequence[Verdict] = ()
    budget: str = ""
    manifest: Manifest | None = None
    sheets: Sequence[Sheet] = ()
    quality: Mapping[str, Mapping[str, Interval]] | None = None  # who -> metric -> interval


def page(story: Story) -> str:
    """The whole page."""
    name = _text(story.report.bundle)
    parts = (
        _head(story),
        _stickers(story.sheets),
        _latency(story),
        _runs(story.report.runs),
        _stages(story.report.runs),
        _verdicts(story.verdicts),
        _parity(story.manifest),
        _quality(story.quality),
        _machine(story.report),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{name} measured</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(story: Story) -> str:
    kind, word = _verdict_words(story)
    best = _best(story.report.runs)
    figures = ""
    if best:
        total = best.samples_ms["total"]
        cells = {f"{best.artifact} on {best.runtime}": f"{figure(quantile(total, 0.5))} ms"}
        if len(total) >= FEWEST[0.9]:
            cells["nine in ten within"] = f"{figure(quantile(total, 0.9))} ms"
        cells["on disk"] = _bytes(best.bytes_on_disk)
        if best.peak_rss_mib is not None:
            cells["peak memory"] = f"{best.peak_rss_mib:.0f} MiB"
        rows = "".join(f"<div><dt>{_text(k)}</dt><dd>{v}</dd></div>" for k, v in cells.items())
        figures = f'<dl class="figures">{rows}</dl>'
    return (
        f"<header><h1>{_text(story.report.bundle)}</h1>"
        f'<p class="verdict {kind}">{word}</p>'
        f'<p class="soft">{_text(_reason(story))}</p>{figures}</header>'
    )


def _verdict_words(story: Story) -> tuple[str, str]:
    if not story.verdicts:
        return "", "Measured"
    kind, sign, word = LOOKS[outcome_of(story.verdicts)]
    return kind, f"{sign} {word}"


def _reason(story: Story) -> str:
    if not story.verdicts:
        ran = sum(not run.refusal for run in story.report.runs)
        return f"{ran} of {len(story.report.runs)} runs, not held against any budget."
    counts = {word: sum(v.outcome == word for v in story.verdicts) for word in LOOKS}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"{told}; budget: {story.budget or 'unnamed'}."


def _best(runs: Iterable[Run]) -> Run | None:
    warm = [run for run in runs if not run.refusal and run.samples_ms.get("total")]
    return min(warm, key=lambda run: quantile(run.samples_ms["total"], 0.5), default=None)


def _stickers(sheets: Sequence[Sheet]) -> str:
    if not sheets:
        return ""
    figures = "".join(
        f'<figure><img width="{sheet.size}" height="{sheet.size}" alt="{_text(sheet.title)}" '
        f'src="data:image/webp;base64,{base64.b64encode(sheet.webp).decode()}">'
        f"<figcaption>{_text(sheet.title)}</figcaption></figure>"
        for sheet in sheets
    )
    return f'<section><h2>What it draws</h2><div class="stickers">{figures}</div></section>'


def _latency(story: Story) -> str:
    limits = {
        (verdict.artifact, verdict.runtime): verdict.limit
        for verdict in story.verdicts
        if verdict.metric == "total.p50"
    }
    lines = [
        Line(
            label=f"{run.artifact} on {run.runtime}",
            samples_ms=run.samples_ms.get("total", ()),
            limit_ms=limits.get((run.artifact, run.runtime)),
        )
        for run in story.report.runs
    ]
    drawing = latencies(lines)
    if not drawing:
        return ""
    note = "Warm, end to end. Solid: half of all runs are faster. Dashed: nine in ten."
    if limits:
        note += " Red: the budget."
    return f'<section><h2>Latency</h2><p class="soft">{note}</p>{drawing}</section>'


def _runs(runs: Sequence[Run]) -> str:
    head = ("", "p50 ms", "p90", "p99", "first", "load", "memory MiB", "on disk", "runs")
    rows = [_run(run) for run in runs]
    return f"<section><h2>Runs</h2>{_table(head, rows)}</section>" if rows else ""


def _run(run: Run) -> list[str]:
    name = f"{run.artifact} on {run.runtime}"
    if run.refusal:
        return [_text(name), f'<span class="soft">not run: {_text(run.refusal)}</span>']
    total = run.samples_ms.get("total", ())
    shares = [
        figure(quantile(total, share)) if len(total) >= fewest else UNKNOWN
        for share, fewest in FEWEST.items()
    ]
    colds = [
        figure(quantile(run.samples_ms[key], 0.5)) if run.samples_ms.get(key) else UNKNOWN
        for key in ("first", "load")
    ]
    memory = UNKNOWN if run.peak_rss_mib is None else f"{run.peak_rss_mib:.0f}"
    return [_text(name), *shares, *colds, memory, _bytes(run.bytes_on_disk), str(len(total))]


def _stages(runs: Sequence[Run]) -> str:
    told = {f"{run.artifact} on {run.runtime}": run for run in runs if shares(run)}
    if not told:
        return ""
    columns = [{row.name: row for row in shares(run)} for run in told.values()]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [[_text(name), *(_share(column.get(name)) for column in columns)] for name in names]
    note = (
        "Medians in ms, raw, of runs of their own under each runtime's profiler, which slows them; "
        "the runs above were not watched."
    )
    doubts = (f"{name}: {doubt(run)}." for name, run in told.items() if doubt(run))
    notes = "".join(f'<p class="soft">{_text(line)}</p>' for line in (note, *doubts))
    table = _table(("", *map(_text, told)), rows)
    return f"<section><h2>Stages</h2>{notes}{table}</section>"


def _share(found: Share | None) -> str:
    if found is None:
        return UNKNOWN
    return f'{figure(found.p50_ms)} <span class="soft">{100 * found.share:.0f} %</span>'


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    head = ("verdict", "what", "found", "interval", "at most", "")
    asks = [_verdict(v) for word in (FAIL, INCONCLUSIVE) for v in verdicts if v.outcome == word]
    kept = [_verdict(v) for v in verdicts if v.outcome == PASS]
    body = _table(head, asks, words=(1, 5)) if asks else ""
    if kept:
        some = _table(head, kept, words=(1, 5))
        body += f"<details><summary>{len(kept)} pass</summary>{some}</details>"
    return f"<section><h2>Budget</h2>{body}</section>"


def _verdict(verdict: Verdict) -> list[str]:
    kind, sign, _ = LOOKS[verdict.outcome]
    unit = _text(verdict.unit)
    return [
        f'<span class="{kind}">{sign} {verdict.outcome}</span>',
        f"{_text(verdict.subject)}: {_text(verdict.metric)}",
        UNKNOWN if verdict.value is None else f"{figure(verdict.value)} {unit}",
        _range(verdict),
        f"{figure(verdict.limit)} {unit}",
        _text(verdict.note),
    ]


def _range(verdict: Verdict) -> str:
    if verdict.low is None:
        return ""
    return f"{figure(verdict.low)} to {'?' if verdict.high is None else figure(verdict.high)}"


def _parity(manifest: Manifest | None) -> str:
    if manifest is None:
        return ""
    rows = [row for artifact in manifest.artifacts for row in _parity_rows(artifact)]
    if not rows:
        return ""
    head = ("", "is it the same model?", "measured", "tolerance", "on", "why")
    return f"<section><h2>Parity</h2>{_table(head, rows, words=(5,))}</section>"


def _parity_rows(artifact: Artifact) -> list[list[str]]:
    rows = []
    for parity in artifact.parity:
        kind, sign = PARITY.get(parity.verdict, ("soft", UNKNOWN))
        value = "" if parity.value is None else f"{parity.value:.4g} {_text(parity.metric)}"
        tolerance = "" if parity.tolerance is None else f"{parity.tolerance:.4g}"
        verdict = f'<span class="{kind}">{sign} {_text(parity.verdict)}</span>'
        where, why = _text(parity.backend), _text(parity.reason)
        rows.append([_text(artifact.name), verdict, value, tolerance, where, why])
    return rows


def _quality(quality: Mapping[str, Mapping[str, Interval]] | None) -> str:
    if not quality:
        return ""
    who = list(quality)
    rows = []
    for name, metric in METRICS.items():
        if any(name in quality[one] for one in who):
            cells = [_estimate(quality[one].get(name)) for one in who]
            told = f"{metric.meaning}; {BETTER[metric.better]}"
            rows.append([_text(name.replace("_", " ")), *cells, _text(told)])
    head = ("", *(_text(one) for one in who), "meaning")
    return f"<section><h2>Quality</h2>{_table(head, rows, words=(len(who) + 1,))}</section>"


def _estimate(found: Interval | None) -> str:
    if found is None:
        return UNKNOWN
    return f'{found.value:.3g} <span class="soft">{found.low:.3g} to {found.high:.3g}</span>'


def _machine(report: Report) -> str:
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine.versions.items()))
    facts = {
        "processor": f"{machine.cpu}, {machine.cores} cores, {machine.memory_mib} MiB",
        "system": f"{machine.os}, Python {machine.python}",
        "governor, load": f"{machine.governor}, {machine.load_1min:g}",
        "clock tick": f"{report.clock_resolution_ns:g} ns",
        "libraries": versions,
        "minuet": f"{report.minuet}, seed {report.seed}",
    }
    rows = [[key, _text(value)] for key, value in facts.items()]
    table = _table((), rows, words=(1,))
    return f"<section><h2>Where it was measured</h2>{table}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int] = ()) -> str:
    """Cells are HTML already; a short row's last cell spans the rest."""
    width = max([len(head), *map(len, rows)])
    top = "".join(f"<th{_class(i, words)}>{cell}</th>" for i, cell in enumerate(head))
    body = "".join(f"<tr>{_cells(row, width, words)}</tr>" for row in rows)
    thead = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="scroll"><table>{thead}<tbody>{body}</tbody></table></div>'


def _cells(row: Sequence[str], width: int, words: Sequence[int]) -> str:
    cells = [f"<td{_class(i, words)}>{cell}</td>" for i, cell in enumerate(row[:-1])]
    rest = width - len(row) + 1
    span = f' colspan="{rest}" class="words"' if rest > 1 else _class(len(row) - 1, words)
    return "".join(cells) + f"<td{span}>{row[-1]}</td>"


def _class(place: int, words: Sequence[int]) -> str:
    return ' class="words"' if place in words else ""


def _bytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB" if size >= 1e5 else f"{size / 1e3:.3g} kB"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
