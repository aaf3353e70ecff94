"""Report, verdicts, stickers -> one self-contained HTML page: verdict first, nothing fetched."""

from collections.abc import Sequence
from dataclasses import dataclass

from minuet.benchmarks import (
    page_compared,
    page_front,
    page_latency,
    page_machine,
    page_proof,
    page_roofs,
    page_stickers,
    page_trade,
    page_work,
)
from minuet.benchmarks.history import Course
from minuet.benchmarks.page_html import Html, Part, tag
from minuet.benchmarks.page_stickers import Sheet as Sheet
from minuet.benchmarks.page_style import STYLE
from minuet.benchmarks.page_trade import Quality
from minuet.benchmarks.page_words import warm
from minuet.benchmarks.verdict import Verdict
from minuet.contracts.artifact import Manifest
from minuet.contracts.report import Report

# Nothing is loaded and nothing runs, whatever a report's words contain.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a page tells; all but the report may be missing."""

    report: Report
    verdicts: Sequence[Verdict] = ()
    budget: str = ""
    manifest: Manifest | None = None
    sheets: Sequence[Sheet] = ()
    quality: Quality | None = None
    history: Sequence[Course] = ()
    command: str = ""  # that led here, as it was typed; "": one like it is shown


def page(story: Story) -> str:
    """The whole page: the same story, the same page."""
    report = story.report
    rows = warm(report.runs)
    front = page_front.front(report, rows, story.verdicts, story.budget)
    parts = [
        page_stickers.stickers(story.sheets),
        page_latency.latency(rows, story.verdicts),
        page_compared.comparison(rows),
        page_front.budget_part(story.verdicts),
        page_compared.history(story.history),
        page_trade.trade(rows, story.manifest, story.quality),
        page_latency.numbers(report.runs, rows),
        page_work.stages(report.runs),
        page_work.where(report.runs),
        page_roofs.roofs(report),
        page_proof.parity(story.manifest),
        page_proof.quality(story.quality),
        page_machine.machine(report),
        page_machine.again(report, story.budget, story.command),
    ]
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", f"{report.bundle} measured"),
        tag("style", Html(STYLE)),
    )
    told = [part for part in parts if part.body]
    body = tag("main", front, _contents(told), [part.html for part in told])
    whole = tag("html", tag("head", *head), tag("body", body), lang="en")
    return f"<!doctype html>{whole}\n"


def _contents(parts: Sequence[Part]) -> Html:
    """Links to the parts that are here."""
    links = [tag("li", tag("a", part.title, href=f"#{part.anchor}")) for part in parts]
    return tag("nav", tag("ul", links), aria_label="Parts")
