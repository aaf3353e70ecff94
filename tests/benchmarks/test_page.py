"""What the page tells, in which order, and what it leaves out."""

import html
import html.parser
import re
from dataclasses import replace

import numpy as np
import pytest

from minuet.benchmarks.page import Story, page
from minuet.benchmarks.page_front import deciding, used
from minuet.benchmarks.page_words import amount, meant, percent, span
from minuet.benchmarks.verdict import AT_LEAST, FAIL, INCONCLUSIVE, PASS
from tests.benchmarks.conftest import drawn
from tests.benchmarks.storied import (
    PAYLOAD,
    course,
    manifest,
    operators,
    planted,
    report,
    rich_runs,
    run,
    story,
    verdict,
)

VOID = {"meta", "img", "input", "wbr"}
PARTS = (
    *("What it draws", "Latency", "Against the base", "Budget", "Over time"),
    *("What the time buys", "Runs", "Stages", "Where it ran", "Roofline"),
    *("Is it the same model?", "Quality", "Where it was measured", "Do it again"),
)
TAGS = VOID | {
    *("html", "head", "title", "style", "body", "main", "header", "nav", "section"),
    *("h1", "h2", "h3", "p", "b", "span", "div", "ul", "li", "a", "dl", "dt", "dd", "label"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
    *("details", "summary", "pre", "code"),
    *("svg", "desc", "line", "path", "text", "circle", "rect"),
}
ATTRIBUTES = {
    *("lang", "charset", "name", "content", "http-equiv", "class", "id", "href", "src", "alt"),
    *("width", "height", "type", "role", "scope", "colspan", "data-label"),
    *("aria-label", "aria-labelledby", "aria-hidden", "viewbox", "preserveaspectratio"),
    *("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "d", "dx", "text-anchor"),
}


class Checker(html.parser.HTMLParser):
    """Collects tags, text and attributes, and refuses tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def read(told: Story) -> Checker:
    return checked(page(told))


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker


def words(told: Story) -> str:
    return read(told).text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("outcomes", "word"),
    [
        ([PASS], "✓ Passes"),
        ([PASS, FAIL, INCONCLUSIVE], "✗ Fails"),
        ([PASS, INCONCLUSIVE], "? Not enough evidence"),
        ([], "Measured"),
    ],
)
def test_the_verdict_comes_first(outcomes: list[str], word: str) -> None:
    told = words(Story(report=report(), verdicts=[verdict(outcome) for outcome in outcomes]))
    body = told[told.index("512 px") :]
    assert body.index(word) < body.index("Latency") < body.index("Runs")


def test_the_number_that_matters_stands_with_its_limit() -> None:
    verdicts = [
        verdict(PASS, value=20.0),
        verdict(FAIL, metric="bytes", unit="B", limit=1e6, value=9e6),
        verdict(FAIL, value=111.0, low=110.5, high=112.0),
        verdict(FAIL, value=121.4, low=118.0, high=123.0, note="far too slow"),
    ]
    assert deciding(verdicts) == verdicts[-1]  # a time, and the one furthest over its limit
    told = words(Story(report=report(), verdicts=verdicts, budget="laptop"))
    assert "121 ms of 110 ms allowed" in told
    assert "Median of warm runs of onnx-fp32 on ort; interval 118 to 123 ms; far too slow." in told
    assert "Of 4 limits of the budget “laptop”, 1 passes, 3 fail." in told


def test_a_limit_from_below_is_used_up_from_above() -> None:
    near, far = (verdict(PASS, bound=AT_LEAST, limit=30.0, value=v) for v in (31.0, 60.0))
    assert used(near) == pytest.approx(30 / 31) and used(far) == pytest.approx(0.5)
    told = words(Story(report=report(), verdicts=[near, far]))
    assert "31 ms of 30 ms needed" in told and "at least 30 ms" in told


def test_every_part_is_told_in_order_and_linked() -> None:
    found = read(story())
    places = [found.text.rindex(part) for part in PARTS]
    assert places == sorted(places)
    links = [value for name, value in found.attributes if name == "href"]
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(links) == len(PARTS) and {link.lstrip("#") for link in links} <= set(ids)
    assert len(ids) == len(set(ids))


def test_what_was_found_is_said_in_words() -> None:
    told = words(story())
    for fact in (
        "not run: needs macOS",
        "Energy is not known: no counter here.",
        "Not known of onnx-int8 on openvino: it tells none.",
        "Not known of onnx-int8 on ort: it tells no operators.",
        "onnx-int8 on ort: slower by 14.3 %",
        "denoise.0 takes 60 % of onnx-fp32 on ort",
        "onnx-fp32 on ort: 96 % of the time on Fast",
        "To Slow fell 1 Gather (4 %).",
        "limited by compute",
        "7 % of the time went to operators without multiply-accumulates",
        "Not run: coreml: no Mac here",
        "+20.0 % with the report of 2026-03-05 12:00 UTC.",
        "Heat slowed a core 2 times meanwhile.",
        "drifts by +",
        "Time off Fast",
        "2.25 a frame",
    ):
        assert fact in told, fact


def test_parts_without_content_are_left_out() -> None:
    told = words(Story(report=report(run("a", "ort", 10.0, samples_ms={"total": drawn(0)}))))
    assert "Latency" in told and "Do it again" in told
    for part in ("Budget", "Stages", "Against the base", "Where it ran", "What the time buys"):
        assert part not in told
    assert "0 of 0 runs" in words(Story(report=report(peaks=None, runs=())))


def test_a_part_that_no_run_knows_says_why_in_a_line() -> None:
    alone = run("a", "ort", 10.0, samples_ms={"total": drawn(0)}, unwatched="u", unplaced="p")
    told = words(Story(report=report(alone)))
    assert "StagesNot known of a on ort: u." in told
    assert "Where it ranNot known of a on ort: p." in told


def test_the_same_story_is_the_same_page() -> None:
    assert page(story()) == page(story())


def test_a_quantile_needs_its_samples() -> None:
    few, many = (
        words(Story(report=report(run("a", "ort", 1.0, samples_ms={"total": samples}))))
        for samples in (drawn(0, 19), drawn(0, 200))
    )
    assert "nine in ten within" not in few and "nine in ten within" in many
    p99 = f"{float(np.quantile(drawn(0, 200), 0.99)):.4g}"
    assert p99 in many and f"{float(np.quantile(drawn(0, 19), 0.99)):.4g}" not in few


def test_no_run_is_called_fastest_without_evidence() -> None:
    near = [run(name, "ort", ms, samples_ms={"total": drawn(2, 30, ms)}) for name, ms in NEAR]
    assert "No run is surely ahead: a on ort and b on ort overlap." in words(
        Story(report=report(*near))
    )
    far = [run(name, "ort", ms, samples_ms={"total": drawn(2, 30, ms)}) for name, ms in FAR]
    assert "a on ort is fastest: 108 ms at the median, 2 times" in words(Story(report=report(*far)))


NEAR, FAR = (("a", 100.0), ("b", 100.1)), (("a", 100.0), ("b", 200.0))


def test_roofs_that_were_not_measured_are_not_drawn() -> None:
    told = words(Story(report=report(peaks=None)))
    assert "Not drawn: the machine's peaks were not measured." in told


@pytest.mark.parametrize(
    "samples",
    [(0.0,), (0.0, 0.0, 0.0), (5.0,), (5.0,) * 30, (0.0, 1e9), (1e-9, 1e-9), (2.0**62, 1.0)],
)
def test_the_strangest_samples_still_make_a_page(samples: tuple[float, ...]) -> None:
    both = [run("a", "ort", 1.0, samples_ms={"total": samples}, side=side) for side in ("", "base")]
    found = read(Story(report=report(*both)))
    numbers = [value for name, value in found.attributes if name in ("d", "x1", "y1", "cx", "x")]
    assert numbers and not any("nan" in value or "inf" in value for value in numbers)


def test_an_empty_past_and_a_manifest_without_proofs_are_no_parts() -> None:
    empty = replace(course(), times=(), values=(), changes=())
    told = words(Story(report=report(), history=[empty]))
    assert "Over time" not in told and "same model" not in told


def test_a_huge_report_is_thinned_where_it_is_drawn_and_stays_small() -> None:
    samples = drawn(1, 2500)
    many = [run(f"a{i:02}", "ort", 1.0, samples_ms={"total": samples}) for i in range(18)]
    many[0] = replace(many[0], operators=tuple(map(replace, operators() * 1200)))
    text = page(Story(report=report(*many)))
    assert len(text.encode()) < 2 << 20
    found = checked(text).text
    assert all(f"a{i:02} on ort" in found for i in range(18))
    assert "The fastest 16 are drawn; 2 more are below." in found
    assert "Of more than 500 samples some are drawn" in found
    assert "The slowest 2000 operators are drawn, 4000 are not." in found
    assert text.count("2500 samples, 2 steps, NFE 2") == 18


def test_nothing_is_fetched_and_nothing_runs() -> None:
    found = read(story())
    assert set(found.tags) <= TAGS
    assert {name for name, _ in found.attributes} <= ATTRIBUTES
    for name, value in found.attributes:
        assert name not in ("src", "href") or value.startswith(("data:image/webp;base64,", "#"))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert ("content", policy) in found.attributes


def test_planted_markup_stays_words_in_every_field() -> None:
    found = read(planted(story()))
    assert set(found.tags) <= TAGS
    assert {name for name, _ in found.attributes} <= ATTRIBUTES
    assert found.text.count("window.hit=1</script>") > 100
    assert not set(found.text) & {"\x00", "\ud800", "\N{RIGHT-TO-LEFT OVERRIDE}"}
    page(planted(story())).encode()  # no half of a pair is left, which would be no UTF-8


def test_every_field_of_a_stranger_was_planted() -> None:
    """Proves the test above: what it does not plant, it does not check."""
    told = planted(story())
    for one in (told.report.machine, told.report.runs[0], told.report.runs[0].operators[0]):
        texts = [getattr(one, name) for name in one.__dataclass_fields__]
        assert all(text in ("", "base") or PAYLOAD in text for text in texts if type(text) is str)


def test_words_without_end_are_cut() -> None:
    told = page(planted(story(), "w" * 100_000))
    assert len(told) < 2 << 20 and "w" * 2000 not in told


def test_commands_to_paste_hold_no_second_command() -> None:
    evil = run("a", "ort;reboot", 1.0, runtime_version="ort 1.2")
    told = page(Story(report=report(evil, bundle="x\nreboot #"), budget="b\nreboot"))
    shown = re.search("<pre>(.*?)</pre>", told, re.S)
    assert shown and re.sub("</?code>", "", html.unescape(shown[1])).splitlines() == [
        "pip install minuet==0.1.0 ort==1.2",
        "minuet bench 'x reboot #'/ -o report/ --runtimes 'ort;reboot' --samples 120 --seed 0 "
        "--threads 2 --peaks",
        "minuet gate report/ --budget budget.toml  # b reboot",
    ]


def test_a_given_command_is_shown_as_it_was_typed() -> None:
    assert "minuet bench mine/ -o out/" in words(
        Story(report=report(), command="minuet bench mine/ -o out/")
    )


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("total.p50", "median of warm runs"),
        ("stage.compose.p90", "90th percentile of the stage compose"),
        ("total.p50 over baseline", "median of warm runs over the baseline's"),
        ("off.Xnnpack*", "time off Xnnpack*"),
        ("parity.db", "likeness to the original"),
        ("something.new", "something.new"),
    ],
)
def test_metrics_have_plain_words(metric: str, said: str) -> None:
    assert meant(metric) == said


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (None, "ms", "not measured"),
        (104.26, "ms", "104.3 ms"),
        (2_938_078.0, "B", "2.94 MB"),
        (950.0, "B", "0.95 kB"),
        (12.0, "B", "12 B"),
        (0.273, "of onnx-fp32", "27.3 % of onnx-fp32"),
        (1.08, "x", "1.08\N{MULTIPLICATION SIGN}"),
        (7.0, "", "7"),
    ],
)
def test_numbers_have_their_units(value: float | None, unit: str, said: str) -> None:
    assert amount(value, unit).replace("\N{NO-BREAK SPACE}", " ") == said


def test_what_is_not_known_of_an_interval_is_not_made_up() -> None:
    assert span(None, None) == "" == span(0.0, None) == span(0.0, float("inf"))
    assert span(3.0, None) == "3 to ?" and span(3.0, 4.0) == "3 to 4"


def test_a_small_share_is_not_nothing() -> None:
    assert [percent(v).replace("\N{NO-BREAK SPACE}", " ") for v in (0.0, 0.002, 0.5)] == [
        "0 %",
        "under 1 %",
        "50 %",
    ]


def test_parity_says_metric_value_need_and_reason() -> None:
    told = words(Story(report=report(), manifest=manifest()))
    for fact in ("Against the original: 4 pass, 2 not run.", "✓ 70", "needs 35", "worst psnr, dB"):
        assert fact in told
    assert "coreml: no Mac here" in told


def test_likeness_is_weighed_against_time() -> None:
    told = words(Story(report=report(*rich_runs()), manifest=manifest()))
    assert "Likeness to the original" in told and "onnx-int8 on openvino: " in told
