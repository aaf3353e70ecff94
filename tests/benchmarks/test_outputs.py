import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from minuet.benchmarks import outputs
from minuet.benchmarks.verdict import AT_LEAST, FAIL, INCONCLUSIVE, PASS, Verdict
from minuet.contracts.errors import RequestError

GOOD = Verdict(
    outcome=PASS,
    artifact="onnx-fp32",
    runtime="ort",
    metric="total.p50",
    limit=130.0,
    unit="ms",
    value=101.25,
    low=99.5,
    high=104.0,
    samples=100,
)
BAD = replace(GOOD, outcome=FAIL, metric="total.p90", value=140.0, low=135.0, high=150.0)
OPEN = replace(
    GOOD, outcome=INCONCLUSIVE, metric="total.p99", high=None, note="about 600 samples would decide"
)
THREE = (GOOD, BAD, OPEN)
HOSTILE = (
    "</testcase><script>alert(1)</script>",
    "a|b\\|c||d\\",
    "x\n::error::owned\r\n::add-mask::ms",
    "![i](http://e.example/x) [a](javascript:alert(1)) `code` **b** <img src=x onerror=alert(1)>",
    "&lt;b&gt; &#124; ]]> <!-- --> @everyone #1 https://e.example www.e.example me@e.example",
    "\x00\x1b[31m\x7f\u202eevil\u2028\ud800\ufffe\U0001f600",
    "%0A%25,title=x::y",
    "| --- |\n\n# head\n> quote\n1. list\n---",
)


class Tags(HTMLParser):
    """What a browser would find: elements, their attributes, and the text of each cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)
        self.cells = [cell.strip() for cell in self.cells]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        if tag in ("td", "h2"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def shown(text: str) -> Tags:
    """Markdown as GitHub reads it: tables, and HTML let through."""
    return Tags(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


def hostile(text: str) -> Verdict:
    return replace(OPEN, artifact=text, runtime=text, note=text, metric=f"stage.{text}.p50")


# --- JUnit XML -----------------------------------------------------------------------------------


def test_junit_says_what_the_verdicts_say(tmp_path: Path) -> None:
    outputs.write_junit(tmp_path / "new" / "gate.xml", THREE, "laptop")
    suites = ET.parse(tmp_path / "new" / "gate.xml").getroot()
    suite = suites[0]
    assert (suites.tag, suite.tag, suite.get("name")) == ("testsuites", "testsuite", "laptop")
    counted = [suite.get(key) for key in ("tests", "failures", "skipped", "errors")]
    assert counted == ["3", "1", "1", "0"]
    good, bad, doubt = suite
    assert [one.tag for one in good] == ["system-out"] and "101.2 ms" in (good[0].text or "")
    assert bad.find("failure") is not None and "140 ms" in bad[0].get("message", "")
    assert doubt[0].tag == "skipped" and doubt[0].get("message") == OPEN.note
    assert {one.get("classname") for one in suite} == {"onnx-fp32 on ort"}


def test_junit_counts_are_those_of_its_elements() -> None:
    suite = ET.fromstring(outputs.junit([GOOD, BAD, BAD, OPEN, OPEN, OPEN], "t"))[0]
    for key, tag in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped")):
        assert int(suite.get(key, "")) == len(list(suite.iter(tag)))


def test_two_limits_on_one_metric_are_two_test_cases() -> None:
    cases = list(ET.fromstring(outputs.junit([GOOD, replace(GOOD, limit=90.0)], "t"))[0])
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_stays_text_in_junit(text: str) -> None:
    suite = ET.fromstring(outputs.junit([hostile(text)], text))[0]
    assert [one.tag for one in suite.iter()] == ["testsuite", "testcase", "skipped"]
    assert suite[0].get("classname") == outputs.one_line(f"{text} on {text}")


def test_junit_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RequestError, match="stands where a folder is needed"):
        outputs.write_junit(tmp_path / "file" / "gate.xml", THREE, "t")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# --- Markdown ------------------------------------------------------------------------------------


def test_the_summary_begins_with_the_verdict_and_the_worst() -> None:
    text = outputs.markdown(THREE, "laptop-2core")
    page = shown(text)
    assert page.cells[0].startswith("❌ laptop-2core: fail")
    assert "3 limits: 1 broken, 1 not decided, 1 kept." in text
    assert page.tags["tr"] == 1 + len(THREE) and page.tags["table"] == 1
    rows = [page.cells[at : at + 7] for at in range(1, len(page.cells), 7)]
    assert [row[0].split()[1] for row in rows] == [FAIL, INCONCLUSIVE, PASS]
    assert rows[1] == [
        *("❔ inconclusive", "onnx-fp32 on ort", "total.p99", "101.2 ms", "99.5 to ?"),
        *("at most 130 ms", "about 600 samples would decide"),
    ]


def test_nothing_judged_is_no_pass() -> None:
    assert "inconclusive" in outputs.markdown([], "t") and "nothing was judged" in outputs.tally([])
    assert ET.fromstring(outputs.junit([], "t"))[0].get("tests") == "0"
    assert outputs.markdown([], "").startswith("## ❔ minuet gate: inconclusive\n")
    assert outputs.github([])[-1].startswith("::notice title=minuet gate%3A inconclusive")


def test_a_limit_from_below_is_told_as_one() -> None:
    least = replace(GOOD, bound=AT_LEAST, limit=40.0, unit="dB")
    assert shown(outputs.markdown([least], "t")).cells[6] == "at least 40 dB"
    assert b"at least 40 dB" in outputs.junit([least], "t")


def test_what_was_not_measured_is_no_number() -> None:
    row = shown(outputs.markdown([replace(OPEN, value=None, low=None, high=None)], "t")).cells
    assert row[4:6] == ["not measured", ""]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_does_nothing_in_the_summary(text: str) -> None:
    plain, spoilt = (
        shown(outputs.markdown([v], t)) for v, t in ((OPEN, "t"), (hostile(text), text))
    )
    assert spoilt.tags == plain.tags and not spoilt.attributes
    assert spoilt.cells[2] == outputs.one_line(f"{text} on {text}")
    assert spoilt.cells[7] == outputs.one_line(text)


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_no_text_at_all_does_anything(text: str) -> None:
    line = outputs.one_line(text)
    assert line.isprintable() and len(line) <= outputs.LONGEST
    case = ET.fromstring(outputs.junit([hostile(text)], text))[0][0]
    assert case[0].get("message") in (line, "not enough evidence")
    assert shown(outputs.markdown([hostile(text)], "t")).cells[7] == line.strip()
    assert all(one.isprintable() for one in outputs.github([hostile(text)]))


def test_a_thousand_verdicts_still_fit_into_a_step_summary() -> None:
    text = outputs.markdown([hostile("\U0001f600" * 1000)] * 1000, "t")
    assert len(text.encode()) < 1 << 20
    assert "900 more are not shown." in text


# --- GitHub --------------------------------------------------------------------------------------


def read(line: str) -> tuple[str, str, str]:
    """A workflow command as the runner reads it: kind, title, message."""
    found = re.fullmatch(r"::(\w+) title=([^:,\r\n]*)::([^\r\n]*)", line)
    assert found, line
    return found[1], unquote(found[2]), unquote(found[3])


def test_annotations_are_errors_warnings_and_one_notice() -> None:
    found = [read(line) for line in outputs.github(THREE)]
    assert [kind for kind, _, _ in found] == ["error", "warning", "notice"]
    assert found[0][1:] == ("onnx-fp32 on ort: total.p90", str(BAD))
    assert found[2][1:] == ("minuet gate: fail", "3 limits: 1 broken, 1 not decided, 1 kept")


def test_commands_are_escaped_as_github_says() -> None:
    line = outputs.command("error", "50 % of\r\na: b, c", title="50 %:\r\n,")
    assert line == "::error title=50 %25%3A%0D%0A%2C::50 %25 of%0D%0Aa: b, c"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_gives_no_command(text: str) -> None:
    kinds = [read(line)[0] for line in outputs.github([hostile(text)])]
    assert kinds == ["warning", "notice"]


def test_more_annotations_than_github_shows_end_in_a_count() -> None:
    lines = [read(line) for line in outputs.github([BAD] * 25)]
    assert Counter(kind for kind, _, _ in lines) == {"error": 10, "notice": 1}
    assert lines[9][2] == "and 16 more, in the summary of this step"
