"""Values -> markup in which a stranger's words stay words: what is no Html is escaped."""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LONGEST = 1500  # characters of one text; what is longer is cut, and ends so
LONG = 48  # characters that a card on a phone gives a line of its own
CUT = " …"
VOID = {"br", "img", "input", "meta"}
# Not printed, or they turn the order of what follows: controls, halves of pairs, direction marks.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_JOINTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[/._-])(?=[^/._-])")
_OURS = {'"': "&quot;", "<": "&lt;", ">": "&gt;"}


class Html(str):
    """Markup, which stands in a page as it is; any other string is text."""

    __slots__ = ()


def text(value: object) -> Html:
    """Escaped words of bounded length; markup stays markup."""
    if isinstance(value, Html):
        return value
    words = plain(value)
    return Html(html.escape(words if len(words) <= LONGEST else words[:LONGEST] + CUT))


def plain(value: object) -> str:
    """Words without what cannot be seen; a number without needless digits."""
    words = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", words)


def tag(name: str, /, *inside: object, **attributes: object) -> Html:
    """An element: `class_` is class, `aria_label` is aria-label, None is left out, True is bare."""
    words = "".join(_attribute(key, value) for key, value in attributes.items())
    end = "" if name in VOID else f"</{name}>"
    return Html(f"<{name}{words}>{every(inside)}{end}")


def every(parts: Iterable[object]) -> Html:
    """Parts after one another; lists are opened, None is nothing."""
    return Html("".join(_part(part) for part in parts))


def _part(part: object) -> str:
    if part is None:
        return ""
    if isinstance(part, Iterable) and not isinstance(part, str):
        return every(part)
    return text(part)


def _attribute(key: str, value: object) -> str:
    name = key.removesuffix("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    words = text(value)
    for ours, theirs in _OURS.items():
        words = Html(words.replace(ours, theirs))
    return f' {name}="{words}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the page; without a body it is left out."""

    title: str
    body: Html
    lede: str = ""  # what was found, in a sentence

    @property
    def anchor(self) -> str:
        """Its name in the page's address."""
        return re.sub(r"[^a-z]+", "-", self.title.lower()).strip("-")

    @property
    def html(self) -> Html:
        """Its heading and all."""
        heading = tag("h2", self.title, id=self.anchor)
        told = tag("p", self.lede, class_="lede") if self.lede else None
        return tag("section", heading, told, self.body, aria_labelledby=self.anchor)


NOTHING = Part(title="", body=Html(""))


def part(title: str, *inside: object, lede: str = "") -> Part:
    """A part of what it holds."""
    return Part(title=title, body=every(inside), lede=lede)


def note(*words: object) -> Html:
    """A quiet line; empty where it has no words."""
    told = every(words)
    return tag("p", told, class_="soft") if told else told


def listing(facts: Iterable[tuple[object, object]], kind: str) -> Html:
    """Names and what they are."""
    rows = [tag("div", tag("dt", key), tag("dd", value)) for key, value in facts]
    return tag("dl", rows, class_=kind) if rows else Html("")


def folded(title: str, *inside: object) -> Html:
    """What a reader may open."""
    return tag("details", tag("summary", title), *inside)


def table(
    caption: str,
    head: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    words: Sequence[int] = (),
) -> Html:
    """A table whose rows become cards on a phone; a short row's last cell spans the rest.

    Args:
        head: the first names the rows.
        words: columns of prose, which are set left and may break.
    """
    if not rows:
        return Html("")
    tops = [
        tag("th", cell, scope="col", role="columnheader", class_=_kind(place, words))
        for place, cell in enumerate(head)
    ]
    # A table that is drawn as a grid is no table to some screen readers, unless each part says so.
    body = [tag("tr", _cells(head, row, words), role="row") for row in rows]
    parts = (
        tag("caption", caption),
        tag("thead", tag("tr", tops, role="row"), role="rowgroup"),
        tag("tbody", body, role="rowgroup"),
    )
    return tag("div", tag("table", parts, role="table"), class_="wide")


def _cells(head: Sequence[object], row: Sequence[object], words: Sequence[int]) -> list[Html]:
    name = row[0]
    first = tag(
        "th",
        name if isinstance(name, Html) else breakable(str(name)),
        scope="row",
        role="rowheader",
    )
    rest = len(head) - len(row) + 1
    cells = []
    for place, cell in enumerate(row[1:], 1):
        spans = rest > 1 and place == len(row) - 1
        cells.append(
            tag(
                "td",
                cell,
                role="cell",
                data_label=None if spans else head[place],
                colspan=rest if spans else None,
                class_="words" if spans else _kind(place, words, cell),
            )
        )
    return [first, *cells]


def _kind(place: int, words: Sequence[int], cell: object = "") -> str | None:
    if place and place not in words:
        return None
    return "words long" if len(str(cell)) > LONG else "words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A bar with its name and what it says."""

    name: str
    share: float  # of the longest that there may be
    told: tuple[object, object]  # a number, and a quieter one
    quiet: bool = False


def bars(caption: str, rows: Iterable[Row]) -> Html:
    """A table whose rows bear bars."""
    body = [
        tag(
            "tr",
            tag("th", breakable(row.name), scope="row"),
            tag("td", _bar(row), aria_hidden="true", class_="bar"),
            [tag("td", told) for told in row.told],
        )
        for row in rows
    ]
    return tag("table", tag("caption", caption), tag("tbody", body), class_="bars")


def _bar(row: Row) -> Html:
    width = f"{100 * row.share:.2f}%"
    drawn = tag("rect", class_="rest" if row.quiet else None, width=width, height=10, rx=2)
    return tag("svg", drawn, width="100%", height=10)


def breakable(name: str) -> Html:
    """A name that may be broken between its words: ThisOne, this.one, this/one."""
    words = _JOINTS.sub("\0", plain(name[:LONGEST])).split("\0")
    return Html("<wbr>".join(text(word) for word in words))
