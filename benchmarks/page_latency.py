"""Runs -> how long they took: every sample, in the order they came, and in numbers."""

from collections.abc import Mapping, Sequence

from minuet.benchmarks import compare, draw, stats
from minuet.benchmarks.draw_latency import (
    LEVEL,
    MOST_DOTS,
    Cloud,
    Order,
    beyond,
    cloud_row,
    order_plot,
    scale_of,
)
from minuet.benchmarks.page_html import (
    NOTHING,
    Html,
    Part,
    breakable,
    every,
    note,
    part,
    table,
    tag,
)
from minuet.benchmarks.page_words import (
    UNKNOWN,
    Warm,
    amount,
    aside,
    caption,
    ours,
    several,
    signed,
    size,
    span,
    tail,
    who,
)
from minuet.benchmarks.stats import Interval
from minuet.benchmarks.verdict import Verdict, figure
from minuet.contracts.report import BASE, Run

WHAT = "What was measured of each run; below the median its interval"
MOST_DRAWN = 16  # runs in a drawing; the tables have all

Limits = Mapping[tuple[str, str], float]  # artifact and runtime -> limit of the median, ms


def latency(rows: Sequence[Warm], verdicts: Sequence[Verdict]) -> Part:
    """Where the samples of each run lie, and in which order they came."""
    if not rows:
        return NOTHING
    limits = {(v.artifact, v.runtime): v.limit for v in verdicts if v.metric == "total.p50"}
    shown = sorted(rows, key=lambda row: row.p50.value)[:MOST_DRAWN]
    clouds = _clouds(shown, limits)
    scale = scale_of(clouds)
    left = len(rows) - len(shown)
    return part(
        "Latency",
        tag("div", [_captioned(c, scale) for c in clouds], draw.axis(scale, " ms"), class_="chart"),
        note(
            "A dot is one warm run, end to end; the hump is how densely they lie; the upright is "
            f"their median, its bar the {100 * LEVEL:.0f} % interval. "
            "Equal steps are equal ratios.",
            _thinned(rows),
            f" The fastest {len(shown)} are drawn; {left} more are below." if left else "",
        ),
        tag("h3", "In the order they were taken"),
        tag("div", [_order(row, limits) for row in shown], class_="pair"),
        note(
            "Each on a scale of its own, which does not begin at 0. The line is a running median."
        ),
        lede=_fastest(rows),
    )


def _fastest(rows: Sequence[Warm]) -> str:
    """Who is ahead, if the intervals say so."""
    best = sorted(ours(rows), key=lambda row: row.p50.value)
    if not best:
        return ""
    first = best[0]
    if len(best) == 1:
        return f"A sticker takes {amount(first.p50.value, 'ms', 3)} at the median."
    second = best[1]
    if first.p50.high >= second.p50.low:
        return f"No run is surely ahead: {first.name} and {second.name} overlap."
    last = best[-1].p50.value / first.p50.value
    told = f"{first.name} is fastest: {amount(first.p50.value, 'ms', 3)} at the median"
    return f"{told}, {figure(round(last, 2))} times as fast as the slowest."


def _clouds(rows: Sequence[Warm], limits: Limits) -> list[Cloud]:
    """A limit bears its name where it first stands."""
    clouds: list[Cloud] = []
    for row in rows:
        limit = limits.get((row.run.artifact, row.run.runtime))
        clouds.append(
            Cloud(
                name=row.name,
                samples_ms=row.samples,
                p50=row.p50,
                limit_ms=limit,
                said=all(cloud.limit_ms != limit for cloud in clouds),
                quiet=row.run.side == BASE,
            )
        )
    return clouds


def _captioned(cloud: Cloud, scale: draw.Scale) -> Html:
    middle = tag("b", amount(cloud.p50.value, "ms"))
    interval = aside(f" {span(cloud.p50.low, cloud.p50.high) or 'too few for an interval'}")
    return every((caption(cloud.name, every((middle, interval))), cloud_row(cloud, scale)))


def _thinned(rows: Sequence[Warm]) -> str:
    if all(row.samples.size <= MOST_DOTS for row in rows):
        return ""
    return (
        f" Of more than {MOST_DOTS} samples some are drawn, the least and the greatest among them."
    )


def _order(row: Warm, limits: Limits) -> Html:
    samples = row.run.samples_ms
    order = Order(
        name=row.name,
        before_ms=samples.get("warm_up", ()),
        samples_ms=row.samples,
        after_ms=samples.get("sustained", ()),
        limit_ms=limits.get((row.run.artifact, row.run.runtime)),
    )
    outside = beyond(order)
    told = f"{outside} on the edge lie beyond it. " if outside else ""
    figure_ = tag("div", order_plot(order), class_="over")
    return tag("div", caption(row.name, _trend(row)), figure_, note(told), class_="one")


def _trend(row: Warm) -> Html:
    """Whether it moved while it was measured."""
    if row.samples.min() <= 0:
        return aside("a sample is 0: too short for this clock")
    moved = compare.drift(row.samples)
    if moved is None:
        return aside("no drift seen" if row.samples.size >= 10 else "too few to see a drift")
    return tag("span", f"? drifts by {signed(moved.value)}", class_="doubt")


def numbers(runs: Sequence[Run], rows: Sequence[Warm]) -> Part:
    """Every run in figures, or why there are none."""
    head = ["", "median ms", "p90", "p99", "first ms", "load ms", "memory MiB"]
    head += ["on disk", "GMAC"]
    more = {
        "PSS MiB": any(run.peak_pss_mib is not None for run in runs),
        "mapped MiB": any(run.mapped_mib is not None for run in runs),
        "mJ": any(run.energy_mj is not None for run in runs),
    }
    extra = [name for name, known in more.items() if known]
    known = {id(row.run): row for row in rows}
    lines = [_row(run, known.get(id(run)), extra) for run in runs]
    unmetered = dict.fromkeys(run.unmetered for run in runs if run.unmetered)
    return part(
        "Runs",
        table(WHAT, [*head, *extra], lines),
        [note(f"Energy is not known: {why}.") for why in unmetered],
        [
            note(f"Each sample of {who(run)} is the mean of {run.batch} calls.")
            for run in runs
            if run.batch > 1
        ],
    )


def _row(run: Run, row: Warm | None, extra: Sequence[str]) -> list[object]:
    if run.refusal:
        return [who(run), aside(f"not run: {run.refusal}")]
    total = run.samples_ms.get("total", ())
    about = f"{several(len(total), 'sample')}, {several(run.steps, 'step')}, NFE {run.nfe}"
    colds = [run.samples_ms.get(key, ()) for key in ("first", "load")]
    found = {"PSS MiB": run.peak_pss_mib, "mapped MiB": run.mapped_mib, "mJ": run.energy_mj}
    return [
        every((breakable(who(run)), " ", tag("span", about))),
        _estimate(row.p50) if row else UNKNOWN,
        *(tail(total, share) for share in (0.9, 0.99)),
        *(figure(stats.quantile(cold, 0.5)) if cold else UNKNOWN for cold in colds),
        _whole(run.peak_rss_mib),
        size(run.bytes_on_disk),
        _work(run),
        *(_whole(found[name]) for name in extra),
    ]


def _estimate(found: Interval) -> Html:
    return every((figure(found.value), " ", aside(span(found.low, found.high))))


def _whole(value: float | None) -> object:
    return UNKNOWN if value is None else f"{value:.0f}"


def _work(run: Run) -> object:
    """Multiply-accumulates of a clip, and of each frame that is shown."""
    if run.macs is None:
        return UNKNOWN
    whole = f"{run.macs / 1e9:.3g}"
    return (
        every((whole, aside(f" {run.macs / run.shown / 1e9:.3g} a frame"))) if run.shown else whole
    )
