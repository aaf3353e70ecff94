import html.parser
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from minuet.benchmarks.draw import Line, latencies, ticks
from minuet.benchmarks.gate import FAIL, INCONCLUSIVE, PASS, Verdict
from minuet.benchmarks.page import Sheet, Story, page
from minuet.benchmarks.stats import Interval
from minuet.contracts.artifact import Artifact, FileEntry, Manifest, Parity
from minuet.contracts.tensors import Signature

HOSTILE = "<script>alert('x')</script>\"'&"
VOID = {"meta", "img", "line", "polygon", "br"}


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
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker


def verdict(outcome: str, **changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "outcome": outcome,
        "artifact": "onnx-fp32",
        "runtime": "ort",
        "metric": "total.p50",
        "limit": 110.0,
        "unit": "ms",
        "value": 104.0,
        "low": 103.0,
        "high": 105.0,
    }
    return Verdict(**fields | changes)


def manifest(reason: str = "same arithmetic") -> Manifest:
    parity = Parity(
        verdict="pass", backend="ort 1", metric="dB", value=70.0, tolerance=60.0, reason=reason
    )
    file = FileEntry(path="onnx-fp32/m.onnx", bytes=1, sha256="0" * 64)
    artifact = Artifact(
        target="onnx",
        precision="fp32",
        entry=file.path,
        files=(file,),
        requires={},
        parity=(parity, Parity(verdict="not run", reason="no Mac here")),
    )
    return Manifest(
        name="s",
        family="f",
        programs={"main": Signature(inputs=(), outputs=())},
        sampler={},
        artifacts=(artifact,),
        files=(),
        minuet="0",
        source_sha256="",
    )


@pytest.mark.parametrize(
    ("outcomes", "word"),
    [
        ([PASS], "✓ Passes"),
        ([PASS, FAIL, INCONCLUSIVE], "✗ Fails"),
        ([PASS, INCONCLUSIVE], "? Not enough evidence"),
        ([], "Measured"),
    ],
)
def test_the_verdict_comes_first(
    make_run: Any, make_report: Any, outcomes: list[str], word: str
) -> None:
    story = Story(report=make_report(make_run()), verdicts=[verdict(o) for o in outcomes])
    text = read(page(story)).text
    body = text[text.index("sticker", text.index("}")) :]
    assert body.index(word) < body.index("Latency") < body.index("Runs")


def test_every_part_of_the_story_is_told(make_run: Any, make_report: Any) -> None:
    refused = make_run(
        runtime="coreml", samples_ms={}, peak_rss_mib=None, refusal="needs macOS", artifact="c-fp16"
    )
    interval = Interval(value=0.93, low=0.9, high=0.96)
    story = Story(
        report=make_report(make_run(), refused),
        verdicts=[verdict(FAIL, note="far too slow")],
        budget="laptop",
        manifest=manifest(),
        sheets=[Sheet(title="fox", webp=b"RIFF0000WEBP", size=64)],
        quality={"student": {"motion": interval}, "teacher": {"motion": interval}},
    )
    found = read(page(story))
    for word in ("not run: needs macOS", "far too slow", "budget: laptop", "no Mac here", "fox"):
        assert word in found.text
    for word in ("0.93", "0.9 to 0.96", "teacher", "Example 9000", "200 MiB", "4 MB", "70 dB"):
        assert word in found.text
    assert ("src", "data:image/webp;base64,UklGRjAwMDBXRUJQ") in found.attributes


def test_nothing_is_fetched_and_nothing_runs(make_run: Any, make_report: Any) -> None:
    found = read(page(Story(report=make_report(make_run()), manifest=manifest())))
    assert "script" not in found.tags and "link" not in found.tags
    for name, value in found.attributes:
        assert not name.startswith("on")
        assert not value.startswith(("http", "//")), value
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in (
        found.attributes
    )


def test_hostile_words_stay_words(make_run: Any, make_report: Any, machine: Any) -> None:
    run = make_run(artifact=HOSTILE, runtime=HOSTILE)
    refused = replace(run, refusal=HOSTILE, samples_ms={})
    bad = verdict(FAIL, artifact=HOSTILE, note=HOSTILE, unit=HOSTILE)
    report = make_report(
        run, refused, bundle=HOSTILE, machine=replace(machine, cpu=HOSTILE, os=HOSTILE)
    )
    story = Story(
        report=report,
        verdicts=[bad, replace(bad, outcome=PASS)],
        budget=HOSTILE,
        manifest=manifest(HOSTILE),
        sheets=[Sheet(title=HOSTILE, webp=b"", size=8)],
        quality={HOSTILE: {"motion": Interval(value=1.0, low=1.0, high=1.0)}},
    )
    found = read(page(story))
    assert "script" not in found.tags
    assert found.text.count("alert('x')") >= 12


def test_an_empty_report_still_makes_a_page(make_report: Any) -> None:
    assert "0 of 0 runs" in read(page(Story(report=make_report()))).text


def test_a_quantile_needs_its_samples(make_run: Any, make_report: Any) -> None:
    few, many = (
        read(page(Story(report=make_report(make_run(np.arange(1.0, 1.0 + n)))))).text
        for n in (19, 200)
    )
    row_few, row_many = (text[text.index("runsonnx-fp32") :] for text in (few, many))
    assert row_few.startswith("runsonnx-fp32 on ort10\N{EN DASH}\N{EN DASH}")
    assert row_many.startswith("runsonnx-fp32 on ort100.5180.1198")


def test_the_marks_lie_where_the_numbers_are() -> None:
    drawing = latencies([Line(label="a", samples_ms=[10.0, 20.0, 30.0], limit_ms=40.0)])
    top = 40.0 * 1.06
    marks = dict(re.findall(r'<line class="(middle|tail|limit)" x1="([\d.]+)"', drawing))
    assert float(marks["middle"]) == pytest.approx(100 * 20 / top, abs=0.01)
    assert float(marks["tail"]) == pytest.approx(100 * 28 / top, abs=0.01)
    assert float(marks["limit"]) == pytest.approx(100 * 40 / top, abs=0.01)


@pytest.mark.parametrize(("top", "expected"), [(9.0, 2.0), (310.0, 100.0), (0.03, 0.01)])
def test_ticks_are_round_and_few(top: float, expected: float) -> None:
    found = ticks(top)
    assert found[1] == pytest.approx(expected) and found[-1] <= top and 3 <= len(found) <= 7


@pytest.mark.parametrize("scheme", [0, 1])
def test_every_ink_can_be_read_on_every_ground(scheme: int) -> None:
    from minuet.benchmarks.page_style import STYLE

    rules = re.findall(r":root \{(.*?)\}", STYLE, re.S)[scheme]
    colors = dict(re.findall(r"--(\w+): (#\w{6});", rules))
    for ground in ("ground", "card"):
        for ink, least in (("ink", 7), ("soft", 4.5), ("pass", 4.5), ("fail", 4.5), ("doubt", 4.5)):
            assert contrast(colors[ink], colors[ground]) >= least, (ink, ground)
    assert contrast(colors["mark"], colors["tint"]) >= 3


def contrast(a: str, b: str) -> float:
    """WCAG 2.2's contrast ratio."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
