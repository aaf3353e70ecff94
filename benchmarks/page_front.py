"""Verdicts -> what a reader sees first: the word, the number that it hangs on, and its limit."""

from collections.abc import Sequence

from minuet.benchmarks import draw
from minuet.benchmarks.draw import Scale
from minuet.benchmarks.page_html import (
    Html,
    Part,
    every,
    folded,
    listing,
    part,
    table,
    tag,
)
from minuet.benchmarks.page_words import (
    FEWEST,
    Warm,
    amount,
    aside,
    meant,
    minute,
    ours,
    percent,
    size,
    span,
    told,
)
from minuet.benchmarks.stats import quantile
from minuet.benchmarks.verdict import AT_MOST, FAIL, INCONCLUSIVE, PASS, Verdict, outcome_of
from minuet.contracts.report import Report

LOOKS = {
    PASS: ("pass", "✓", "Passes"),
    FAIL: ("fail", "✗", "Fails"),
    INCONCLUSIVE: ("doubt", "?", "Not enough evidence"),
}
COUNTED = {
    PASS: ("passes", "pass"),
    FAIL: ("fails", "fail"),
    INCONCLUSIVE: ("lacks evidence", "lack evidence"),
}
GAUGE = 56  # pixels high
OPEN, CLOSE = "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"


def front(report: Report, rows: Sequence[Warm], verdicts: Sequence[Verdict], budget: str) -> Html:
    """The top of the page."""
    about = [f"{report.size} px stickers" if report.size else "", report.machine.cpu]
    about += [f"{report.machine.cores} cores", minute(report.measured_at)]
    kicker = tag(
        "p", tag("b", report.bundle), [f" · {fact}" for fact in about if fact], class_="kicker"
    )
    found = _judged(verdicts, budget) if verdicts else _measured(report)
    return tag("header", kicker, found, _figures(rows))


def _judged(verdicts: Sequence[Verdict], budget: str) -> Html:
    kind, sign, word = LOOKS[outcome_of(verdicts)]
    one = deciding(verdicts)
    bounds = span(one.low, one.high, one.unit)
    facts = (
        f"{_capital(meant(one.metric))} of {one.subject}",
        f"interval {bounds}" if bounds else "",
        one.note,
    )
    asked = "allowed" if one.bound == AT_MOST else "needed"
    number = (tag("b", told(one, one.value, 3)), aside(f" of {told(one, one.limit)} {asked}"))
    return every(
        (
            tag("h1", f"{sign} {word}", class_=kind),
            tag("p", number, class_="number"),
            _gauge(one, kind),
            tag("p", "; ".join(filter(None, facts)), "."),
            tag("p", _count(verdicts, budget), class_="soft"),
        )
    )


def deciding(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that the outcome hangs on: of its kind, a time if there is one, most used up."""
    outcome = outcome_of(verdicts)
    those = [verdict for verdict in verdicts if verdict.outcome == outcome]
    times = [verdict for verdict in those if verdict.metric.startswith("total.")]
    return max(times or those, key=used)


def used(verdict: Verdict) -> float:
    """The share of its limit that was found; of a limit from below, what was needed of it."""
    whole, share = verdict.limit, verdict.value or 0.0
    if verdict.bound != AT_MOST:
        whole, share = share, whole
    return share / whole if whole else 0.0


def _gauge(verdict: Verdict, kind: str) -> Html:
    """The number and its interval on the way from nothing to the limit."""
    if verdict.value is None or not verdict.limit > 0:
        return Html("")
    low = verdict.value if verdict.low is None else verdict.low
    high = verdict.value if verdict.high is None else verdict.high
    scale = Scale(low=0, high=1.12 * max(verdict.limit, high, verdict.value))
    end, found, y = scale.x(verdict.limit), scale.x(verdict.value), 40.0
    over = found > end and verdict.bound == AT_MOST
    strokes = [
        draw.line("track", 0, y, end, y),
        draw.line(f"fill {'' if over else kind}", 0, y, min(found, end) if over else found, y),
        draw.line(f"fill {kind}", end, y, found, y) if over else Html(""),
        draw.line("reach", scale.x(low), y, scale.x(high), y) if low > 0 else Html(""),
        draw.line("edge", end, y - 15, end, y + 9),
    ]
    label = f"limit {told(verdict, verdict.limit)}"
    anchor = "end" if end > draw.STRETCH / 2 else "start"
    above = draw.words(scale.left(verdict.limit), y - 22, label, kind="soft", anchor=anchor)
    words = f"{told(verdict, verdict.value)}, {label}"
    return draw.drawing(GAUGE, "How much of the limit is used", words, strokes, above)


def _count(verdicts: Sequence[Verdict], budget: str) -> str:
    counts = {word: sum(v.outcome == word for v in verdicts) for word in COUNTED}
    said = [f"{n} {COUNTED[word][n != 1]}" for word, n in counts.items() if n]
    name = f"the budget {OPEN}{budget}{CLOSE}" if budget else "the budget"
    return f"Of {len(verdicts)} limits of {name}, {', '.join(said)}."


def _measured(report: Report) -> Html:
    ran = sum(not run.refusal for run in report.runs)
    words = f"{ran} of {len(report.runs)} runs; they were held against no budget."
    return every((tag("h1", "Measured"), tag("p", words, class_="soft")))


def _figures(rows: Sequence[Warm]) -> Html:
    """A few numbers of the fastest run."""
    best = min(ours(rows), key=lambda row: row.p50.value, default=None)
    if best is None:
        return Html("")
    run = best.run
    facts = [("median", amount(best.p50.value, "ms", 3))]
    if best.samples.size >= FEWEST[0.9]:
        p90 = quantile(best.samples, 0.9)
        facts.append(("nine in ten within", amount(p90, "ms", 3)))
    facts += [("on disk", size(run.bytes_on_disk))]
    if run.peak_rss_mib is not None:
        facts.append(("peak memory", amount(run.peak_rss_mib, "MiB", 3)))
    whose = tag("p", f"Of the run with the least median, {best.name}", class_="soft of")
    return every((whose, listing(facts, "figures")))


def budget_part(verdicts: Sequence[Verdict]) -> Part:
    """Every limit: what is not kept first, what is kept folded away."""
    asks = [v for word in (FAIL, INCONCLUSIVE) for v in verdicts if v.outcome == word]
    kept = [v for v in verdicts if v.outcome == PASS]
    body = [_table("Limits that are not kept, or not known to be", asks)]
    if kept:
        inside = _table("Limits that are kept", kept)
        body.append(
            folded(f"{len(kept)} {COUNTED[PASS][len(kept) != 1]}", inside) if asks else inside
        )
    return part("Budget", *body)


def _table(caption: str, verdicts: Sequence[Verdict]) -> Html:
    head = ("what", "verdict", "found", "interval", "limit", "used", "why")
    return table(caption, head, [_row(verdict) for verdict in verdicts], words=(0, 1, 6))


def _row(verdict: Verdict) -> list[object]:
    kind, sign, _ = LOOKS[verdict.outcome]
    share = "" if verdict.value is None else percent(used(verdict))
    return [
        every((tag("b", _capital(meant(verdict.metric))), " ", tag("span", verdict.subject))),
        tag("span", f"{sign} {verdict.outcome}", class_=kind),
        told(verdict, verdict.value),
        span(verdict.low, verdict.high, verdict.unit) or ("not known" if verdict.samples else ""),
        f"{verdict.bound} {told(verdict, verdict.limit)}",
        share,
        verdict.note,
    ]


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
