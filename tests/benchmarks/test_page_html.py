"""Markup is what was built as markup; every other string is text, wherever it is put."""

import pytest

from minuet.benchmarks.page_html import LONGEST, Html, Row, bars, breakable, part, table, tag, text


def test_text_inside_and_in_attributes_is_escaped() -> None:
    assert tag("td", "<b>", title="\"'<") == '<td title="&quot;&#x27;&lt;">&lt;b&gt;</td>'


def test_markup_is_kept_inside_and_cannot_leave_an_attribute() -> None:
    inner = tag("b", "x", class_="y")
    assert tag("p", inner) == '<p><b class="y">x</b></p>'
    assert tag("p", title=inner) == '<p title="&lt;b class=&quot;y&quot;&gt;x&lt;/b&gt;"></p>'


def test_what_is_nothing_is_nothing_and_lists_are_opened() -> None:
    assert tag("p", None, ["a", [tag("br"), 1]], hidden=None, checked=True, x=False) == (
        "<p checked>a<br>1</p>"
    )


def test_numbers_lose_needless_digits() -> None:
    assert tag("rect", x=1.0, y=2.345, n=7) == '<rect x="1" y="2.35" n="7"></rect>'


@pytest.mark.parametrize("letter", ["\x00", "\x1b", "\x9f", "\ud800", "\u202e", "\u2066", "\x7f"])
def test_what_cannot_be_seen_is_shown_as_such(letter: str) -> None:
    assert text(f"a{letter}b") == "a\N{REPLACEMENT CHARACTER}b"
    assert breakable(f"a{letter}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_text_is_bounded_before_it_is_escaped() -> None:
    assert text("<" * 2 * LONGEST) == "&lt;" * LONGEST + " …"
    assert len(breakable("aB" * LONGEST)) < 20 * LONGEST


def test_a_long_name_may_break_between_its_words() -> None:
    assert breakable("CPUExecution/a.b<") == "CPUExecution/<wbr>a.<wbr>b&lt;"


def test_a_table_says_what_its_cells_are() -> None:
    found = table("what", ("", "ms", "why"), [["a", "1", "<"], ["b", "not run"]], words=(2,))
    assert "<caption>what</caption>" in found
    assert '<th scope="col" role="columnheader">ms</th>' in found
    assert '<th scope="row" role="rowheader">a</th>' in found
    assert '<td role="cell" data-label="ms">1</td>' in found
    assert '<td role="cell" colspan="2" class="words">not run</td>' in found
    assert table("what", ("",), []) == ""


def test_a_bar_is_as_long_as_its_share_and_is_not_read_aloud() -> None:
    found = bars("who", [Row(name="a", share=0.25, told=("1", "25 %"))])
    assert 'width="25.00%"' in found and 'aria-hidden="true"' in found and ">25 %<" in found


def test_a_part_without_content_has_no_body_and_one_with_it_has_an_anchor() -> None:
    assert part("Title", None, []).body == ""
    assert part("Is it so?", "x").html == (
        '<section aria-labelledby="is-it-so"><h2 id="is-it-so">Is it so?</h2>x</section>'
    )


def test_markup_is_a_kind_of_its_own() -> None:
    assert type(tag("p")) is Html and type(text("x")) is Html
