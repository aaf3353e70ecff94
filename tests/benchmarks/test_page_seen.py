"""The page in a real browser: nothing alive, every word legible, on a desk and on a phone."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minuet.benchmarks.page import POLICY, page
from tests.benchmarks.storied import planted, story
from tests.minuet.curation.chromium import BROWSER, Chromium

pytestmark = pytest.mark.skipif(BROWSER is None, reason="not run: no Chromium is installed")

DESK, PHONE = (1280, 900), (390, 844)

# Each text with its ink and the ground below, as the browser computed them.
INKS = """(() => {
  const found = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const owner = node.parentElement;
    if (!node.data.trim() || !owner.checkVisibility()) continue;
    if (owner.closest('title, desc, style')) continue;
    const style = getComputedStyle(owner);
    let below = owner, ground = 'rgba(0, 0, 0, 0)';
    for (; below && ground === 'rgba(0, 0, 0, 0)'; below = below.parentElement)
      ground = getComputedStyle(below).backgroundColor;
    const ink = owner.closest('svg') ? style.fill : style.color;
    found.set([ink, ground, style.opacity].join('|'), owner.tagName + node.data.slice(0, 30));
  }
  return JSON.stringify([...found]);
})()"""
WIDE = """(() => [...document.querySelectorAll('body *')]
  .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 0.5
    && getComputedStyle(e).position !== 'absolute')
  .map(e => e.tagName + ' ' + e.textContent.slice(0, 40)))()"""
SCROLLED = """(() => [...document.querySelectorAll('body *')]
  .filter(e => !(e instanceof SVGElement) && e.scrollWidth > e.clientWidth + 1
    && getComputedStyle(e).overflowX === 'auto').map(e => e.textContent.slice(0, 40)))()"""
ALIVE = """(() => [...document.querySelectorAll('*')].filter(e =>
  ['SCRIPT', 'IFRAME', 'OBJECT', 'EMBED', 'LINK', 'FORM', 'BASE'].includes(e.tagName)
  || [...e.attributes].some(a => a.name.startsWith('on') || /script:/i.test(a.value)
     && a.name !== 'alt' && a.name !== 'aria-label' && a.name !== 'data-label'))
  .map(e => e.outerHTML.slice(0, 80)))()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as one:
        yield one


def show(
    browser: Chromium, folder: Path, text: str, size: tuple[int, int], dark: bool = False
) -> None:
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    browser.said.clear()
    browser.look_like(*size, dark=dark)
    browser.open(path.as_uri())
    browser.until("document.readyState === 'complete' && !!document.querySelector('main')")


def channels(color: str) -> list[float]:
    numbers = color[color.index("(") + 1 : -1].split(",")
    assert len(numbers) == 3, color  # nothing is half transparent
    return [float(number) / 255 for number in numbers]


def luminance(color: str) -> float:
    parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("dark", [False, True])
def test_every_word_can_be_read(browser: Chromium, tmp_path: Path, dark: bool) -> None:
    show(browser, tmp_path, page(story()), DESK, dark)
    found = json.loads(browser.js(INKS))
    assert len(found) >= 5
    for key, where in found:
        ink, ground, opacity = key.split("|")
        light, shade = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert opacity == "1" and (light + 0.05) / (shade + 0.05) >= 4.5, (where, ink, ground)
    assert (luminance(found[0][0].split("|")[1]) < 0.5) == dark


@pytest.mark.parametrize("text", ["told", "planted"])
def test_a_phone_shows_it_all_without_scrolling_sideways(
    browser: Chromium, tmp_path: Path, text: str
) -> None:
    told = story() if text == "told" else planted(story(), "aLongWordWithoutAnyEnd" * 12)
    show(browser, tmp_path, page(told), PHONE)
    browser.js("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert browser.js("document.documentElement.scrollWidth") == PHONE[0]
    assert browser.js(SCROLLED) == []
    if text == "told":
        assert browser.js(WIDE) == []


def test_it_opens_at_once_and_says_nothing_to_the_console(
    browser: Chromium, tmp_path: Path
) -> None:
    text = page(story())
    took = []
    for _ in range(3):
        show(browser, tmp_path, text, DESK)
        browser.until("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
        took.append(browser.js("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert min(took) < 1000 and browser.said == []


@pytest.mark.parametrize("policy", [True, False])
def test_nothing_that_was_planted_is_alive(browser: Chromium, tmp_path: Path, policy: bool) -> None:
    text = page(planted(story()))
    assert POLICY in text.replace("&#x27;", "'")
    if not policy:  # the words alone must hold, without the belt
        head, _, rest = text.partition('<meta http-equiv="Content-Security-Policy"')
        text = head + rest[rest.index(">") + 1 :]
    show(browser, tmp_path, text, DESK)
    assert browser.js("window.hit") is None and browser.js(ALIVE) == []
    assert browser.js("document.querySelectorAll('img').length") == 2
    assert browser.js("document.querySelectorAll('main').length") == 1
    assert browser.js("document.body.innerText.includes('<script>window.hit=1</script>')")
    assert browser.said == []


def test_the_browser_would_have_shown_what_is_alive(browser: Chromium, tmp_path: Path) -> None:
    """Proves the test above: the same words, unescaped, run."""
    show(browser, tmp_path, "<main><script>window.hit=1</script><p onclick='x'></p></main>", DESK)
    assert browser.js("window.hit") == 1 and len(browser.js(ALIVE)) == 2


def test_stickers_play_and_are_held_still_by_a_key_or_by_their_owners_wish(
    browser: Chromium, tmp_path: Path
) -> None:
    moves = "getComputedStyle(document.querySelector('.moves')).display !== 'none'"
    still = "getComputedStyle(document.querySelector('.still')).display !== 'none'"
    show(browser, tmp_path, page(story()), DESK)
    assert (browser.js(moves), browser.js(still)) == (True, False)
    assert browser.js("document.querySelector('.moves').decode().then(() => true)")
    browser.js("document.getElementById('held').focus()")
    browser.key(" ")
    browser.until(f"!({moves}) && {still}")
    browser.look_like(*DESK, still=True)
    browser.js("document.getElementById('held').checked = false")
    assert (browser.js(moves), browser.js(still)) == (False, True)


def test_it_is_heard_in_order_with_names(browser: Chromium, tmp_path: Path) -> None:
    show(browser, tmp_path, page(story()), PHONE)
    nodes = browser.do("Accessibility.getFullAXTree")["nodes"]
    rows = [(_said(node, "role"), _said(node, "name")) for node in nodes if not node["ignored"]]
    assert next(name for role, name in rows if role == "heading") == "✗ Fails"
    levels = browser.js("[...document.querySelectorAll('h1,h2,h3')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    pictures = [name for role, name in rows if role in ("image", "graphics-document", "img")]
    assert len(pictures) > 10 and all(pictures)
    kinds = {role for role, _ in rows}
    assert {"main", "navigation", "table", "rowheader", "columnheader", "cell"} <= kinds


def _said(node: dict[str, Any], what: str) -> str:
    return str(node.get(what, {}).get("value", ""))


def test_a_keyboard_reaches_every_link_and_shows_where_it_is(
    browser: Chromium, tmp_path: Path
) -> None:
    show(browser, tmp_path, page(story()), DESK)
    count = browser.js("document.querySelectorAll('a, input, summary').length")
    seen = set()
    for _ in range(count):
        browser.key("Tab")
        seen.add(browser.js("document.activeElement.outerHTML"))
        assert browser.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert len(seen) == count > 10


def test_paper_shows_what_is_folded_and_nothing_that_moves(
    browser: Chromium, tmp_path: Path
) -> None:
    show(browser, tmp_path, page(story()), DESK, dark=True)
    browser.do("Emulation.setEmulatedMedia", media="print")
    shown = "getComputedStyle(document.querySelector('{}')).display !== 'none'"
    assert not browser.js(shown.format("nav")) and not browser.js(shown.format(".moves"))
    assert browser.js("document.querySelector('details td').getBoundingClientRect().height") > 0
    pdf = browser.do("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]
    browser.do("Emulation.setEmulatedMedia", media="")
    assert pdf.startswith("JVBER")
