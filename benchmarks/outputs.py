"""Verdicts -> what a CI shows: JUnit XML, a Markdown summary, annotations of a pull request."""

# Names and notes come from reports, and a report may be a stranger's: nothing in one may end a
# line, open an element, or begin a command.

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from minuet.benchmarks.verdict import FAIL, INCONCLUSIVE, PASS, Verdict, figure, outcome_of
from minuet.contracts.files import write_bytes

TITLE = "minuet gate"  # where nothing has a name
LONGEST = 200  # characters of a name or a note
MOST_ROWS = 100  # with LONGEST: a summary stays below the 1 MiB that GitHub takes
MOST_ANNOTATIONS = 10  # of a kind and a step; GitHub drops the others without a word

WORST_FIRST = (FAIL, INCONCLUSIVE, PASS)
SIGNS = {FAIL: "❌", INCONCLUSIVE: "❔", PASS: "✅"}
MEANS = {FAIL: "broken", INCONCLUSIVE: "not decided", PASS: "kept"}
COLUMNS = ("verdict", "of", "metric", "value", "interval", "limit", "note")
HARMLESS = frozenset(" ,;.:/%()+-=?'")  # in Markdown, within a line


def one_line(text: str, longest: int = LONGEST) -> str:
    """Text as one line of printable characters; what cannot be printed is told by its code."""
    words = " ".join(text.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def tally(verdicts: Sequence[Verdict]) -> str:
    """How many limits are broken, not decided, kept: in a few words."""
    count = Counter(verdict.outcome for verdict in verdicts)
    told = [f"{count[outcome]} {MEANS[outcome]}" for outcome in WORST_FIRST if count[outcome]]
    limits = "limit" if len(verdicts) == 1 else "limits"
    return f"{len(verdicts)} {limits}: {', '.join(told)}" if told else "nothing was judged"


def worst_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Failures, then doubts, then the rest, each in their order."""
    return sorted(verdicts, key=lambda verdict: WORST_FIRST.index(verdict.outcome))


# --- JUnit XML -----------------------------------------------------------------------------------


def write_junit(path: Path, verdicts: Sequence[Verdict], title: str) -> None:
    """A file that GitLab, Jenkins and their like show as tests; written whole or not at all.

    A limit is a test case of its subject's class. A doubt is a skipped one, with its note: viewers
    know no other word for what was asked and not answered.
    """
    write_bytes(path, junit(verdicts, title))


def junit(verdicts: Sequence[Verdict], title: str) -> bytes:
    """The bytes of that file; they depend on nothing but the arguments."""
    count = Counter(verdict.outcome for verdict in verdicts)
    shared = {
        "name": one_line(title) or TITLE,
        "tests": str(len(verdicts)),
        "failures": str(count[FAIL]),
        "errors": "0",
        "time": "0",
    }
    suites = ET.Element("testsuites", shared)
    suite = ET.SubElement(suites, "testsuite", shared, skipped=str(count[INCONCLUSIVE]))
    for verdict, (subject, name) in zip(verdicts, _names(verdicts), strict=True):
        case = ET.SubElement(suite, "testcase", classname=subject, name=name, time="0")
        line = one_line(str(verdict), 4 * LONGEST)
        if verdict.outcome == FAIL:
            ET.SubElement(case, "failure", message=line, type=FAIL).text = line
        elif verdict.outcome == INCONCLUSIVE:
            why = one_line(verdict.note) or "not enough evidence"
            ET.SubElement(case, "skipped", message=why).text = line
        else:
            ET.SubElement(case, "system-out").text = line
    ET.indent(suites)
    made: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def _names(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    """Class and name of each test case: GitLab folds those that share both into one."""
    seen: Counter[tuple[str, str]] = Counter()
    for verdict in verdicts:
        subject, metric = one_line(verdict.subject), one_line(verdict.metric)
        seen[subject, metric] += 1
        again = seen[subject, metric]
        yield subject, metric if again == 1 else f"{metric} ({again})"


# --- Markdown ------------------------------------------------------------------------------------


def markdown(verdicts: Sequence[Verdict], title: str) -> str:
    """The verdict, then a table with the worst first: made for $GITHUB_STEP_SUMMARY."""
    outcome = outcome_of(verdicts)
    lines = [f"## {SIGNS[outcome]} {inert(title) or TITLE}: {outcome}", "", f"{tally(verdicts)}."]
    if verdicts:
        shown = worst_first(verdicts)[:MOST_ROWS]
        lines += ["", _row(COLUMNS), _row(["---"] * len(COLUMNS)), *map(_cells, shown)]
    if len(verdicts) > MOST_ROWS:
        lines += ["", f"{len(verdicts) - MOST_ROWS} more are not shown."]
    return "\n".join(lines) + "\n"


def inert(text: str) -> str:
    """Text that Markdown shows as it is: what could mean something is written by its number."""
    return "".join(c if c.isalnum() or c in HARMLESS else f"&#{ord(c)};" for c in one_line(text))


def _cells(verdict: Verdict) -> str:
    between = ""
    if verdict.low is not None:
        high = "?" if verdict.high is None else figure(verdict.high)
        between = f"{figure(verdict.low)} to {high}"
    return _row(
        [
            f"{SIGNS[verdict.outcome]} {verdict.outcome}",
            f"<code>{inert(verdict.subject)}</code>",
            inert(verdict.metric),
            "not measured" if verdict.value is None else _measure(verdict.value, verdict.unit),
            between,
            f"{verdict.bound} {_measure(verdict.limit, verdict.unit)}",
            inert(verdict.note),
        ]
    )


def _measure(value: float, unit: str) -> str:
    return f"{figure(value)} {inert(unit)}".strip()


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


# --- GitHub --------------------------------------------------------------------------------------


def github(verdicts: Sequence[Verdict]) -> list[str]:
    """Workflow commands: an error for each failure, a warning for each doubt, a notice of all."""
    return [
        *_annotations("error", [v for v in verdicts if v.outcome == FAIL]),
        *_annotations("warning", [v for v in verdicts if v.outcome == INCONCLUSIVE]),
        command("notice", tally(verdicts), title=f"{TITLE}: {outcome_of(verdicts)}"),
    ]


def _annotations(kind: str, verdicts: Sequence[Verdict]) -> Iterator[str]:
    fits = len(verdicts) <= MOST_ANNOTATIONS
    shown = verdicts if fits else verdicts[: MOST_ANNOTATIONS - 1]
    for verdict in shown:
        title = one_line(f"{verdict.subject}: {verdict.metric}")
        yield command(kind, one_line(str(verdict), 4 * LONGEST), title=title)
    if not fits:
        left = len(verdicts) - len(shown)
        yield command(kind, f"and {left} more, in the summary of this step", title=TITLE)


def command(kind: str, message: str, *, title: str) -> str:
    """One workflow command, with GitHub's own escapes."""
    return f"::{kind} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
