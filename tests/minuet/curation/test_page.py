"""The page in a real browser, with a real keyboard, server and disk; skipped without Chromium."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from minuet.curation.answers import PREFERENCE, VERDICT, Answer, standing
from minuet.curation.candidates import Candidates
from minuet.curation.database import Answers
from tests.minuet.curation.chromium import BROWSER, Chromium
from tests.minuet.curation.postgres import Postgres
from tests.minuet.curation.serving import Served

needs_browser = pytest.mark.skipif(BROWSER is None, reason="not run: no Chromium is installed")
PAGE = files("minuet.curation") / "page"
HOSTILE = "<img src=x onerror=document.title='hacked'> \u202etxet"
DRAWN = "[...document.querySelectorAll('.card canvas')].every(one => one.width > 1)"
CHECKED = [  # foreground, background
    *[(ink, paper) for ink in ("ink", "soft", "reject") for paper in ("paper", "card")],
    *[("keep", "card"), ("on-accent", "accent"), ("accent", "paper")],
]


@pytest.fixture
def hostile(run: Path) -> Path:
    """A run whose captions would rather be something else."""
    path = run / "candidates" / "index.json"
    index = json.loads(path.read_text())
    for row in index["clips"]:
        row["caption"] = HOSTILE
    path.write_text(json.dumps(index))
    return run


@pytest.fixture
def browser() -> Iterator[Chromium]:
    with Chromium() as one:
        one.look_like(1280, 860)
        yield one


def saved(run: Path) -> list[Answer]:
    with Answers(f"sqlite:///{run / 'answers.sqlite'}", Candidates(run / "candidates").run) as all_:
        return all_.all()


def enter(browser: Chromium, url: str, name: str) -> None:
    browser.open(url)
    browser.until("document.querySelector('#hello')?.hidden === false")
    browser.type(name)
    browser.key("Enter")
    browser.until("document.querySelectorAll('.card').length === 3")
    browser.until(DRAWN)


def text(browser: Chromium, where: str) -> str:
    return str(browser.js(f"document.querySelector('{where}').textContent"))


@needs_browser
def test_a_look_is_answered_by_keys_alone(hostile: Path, browser: Chromium) -> None:
    name = "<b>Zoë</b>"
    with Served(hostile, "--port", "0") as server:
        enter(browser, server.url, name)
        assert text(browser, "#who") == name and text(browser, "#caption") == HOSTILE
        shown = browser.js("[...document.querySelectorAll('.card')].map(one => one.dataset.name)")
        browser.key("s")  # no reason without a verdict
        browser.key("2", "r", "a", "1", "k", "s", "m", "s", "Enter")  # s twice: taken back
        assert browser.js("document.querySelectorAll('.card')[2].ariaPressed") == "true"
        browser.key("k", "u", "r", "Enter")
        browser.until("document.querySelectorAll('.cards.pair .card').length === 2")
        browser.key("Enter")  # nothing is said yet
        assert "for the better one" in text(browser, "#step")
        pairs = []
        for key in ("ArrowLeft", "ArrowRight", "ArrowDown"):
            browser.until(DRAWN)
            pairs.append(
                browser.js("[...document.querySelectorAll('.card')].map(one => one.dataset.name)")
            )
            browser.key(key, "c", "Enter")
        browser.until("document.querySelector('#count').textContent === '1 of 6'")
        browser.until("document.querySelector('#state').textContent === 'all saved'")
        assert browser.said == [] and browser.js("document.title") == "minuet curate"
        code, out, err = server.interrupt()
    assert (code, err) == (0, "") and "answers are in" in out
    said = standing(saved(hostile))
    assert {one.annotator for one in said} == {name}
    verdicts = {one.clip: (one.value, one.reasons) for one in said if one.kind == VERDICT}
    assert verdicts == {
        shown[0]: ("keep", ("smoothness",)),
        shown[1]: ("reject", ("amount",)),
        shown[2]: ("reject", ()),
    }
    won = [
        {"clip": one.clip, "other": one.other, "tie": "tie"}[one.value]
        for one in said
        if one.kind == PREFERENCE
    ]
    assert won == [pairs[0][0], pairs[1][1], "tie"]
    assert all(one.reasons == ("consistency",) for one in said if one.kind == PREFERENCE)


@needs_browser
def test_playing_stops_steps_and_heeds_who_wants_no_motion(run: Path, browser: Chromium) -> None:
    pixels = "document.querySelector('.card canvas').toDataURL()"
    with Served(run, "--port", "0") as server:
        enter(browser, server.url, "Ada")
        before = browser.js(pixels)
        browser.until(f"{pixels} !== {json.dumps(before)}")  # it moves
        browser.key(" ")
        first = browser.js(pixels)
        browser.js("new Promise(done => setTimeout(done, 400))")
        assert browser.js(pixels) == first
        seen = {first}
        for _ in range(3):
            browser.key(".")
            browser.js("new Promise(requestAnimationFrame)")
            browser.js("new Promise(requestAnimationFrame)")
            seen.add(browser.js(pixels))
        assert len(seen) == 4  # four frames, all shown
        browser.look_like(390, 844, still=True)
        browser.open(server.url)
        browser.until("document.querySelectorAll('.card').length === 3")
        assert "Play" in text(browser, "#actions")
        assert browser.js("document.documentElement.scrollWidth") <= 390


@needs_browser
def test_answers_given_while_the_server_is_dead_arrive_once(run: Path, browser: Chromium) -> None:
    with Served(run, "--port", "0") as server:
        enter(browser, server.url, "Ada")
        browser.key("1", "k")
        browser.until("document.querySelector('#state').textContent === 'all saved'")
        server.kill()
        browser.key("2", "r", "3", "k", "s")
        browser.until(
            "document.querySelector('#state').textContent.includes('kept in this browser')"
        )
        assert "3 answers kept in this browser: the server is away" in text(browser, "#state")
        assert len(saved(run)) == 1
        again = Served(run, "--port", server.port)
    with again:
        browser.open(again.url)
        browser.until("document.querySelector('#state')?.textContent === 'all saved'")
        values = "[...document.querySelectorAll('.said')].map(one => one.textContent).join()"
        browser.until(f"{values} === 'kept,rejected,kept'")
        assert browser.js("Object.keys(localStorage).filter(key => key.length > 50).length") == 0
    found = saved(run)
    assert len(found) == 4 and len(standing(found)) == 3


@needs_browser
@pytest.mark.slow
def test_answers_given_while_the_database_is_away_arrive_once(
    run: Path, browser: Chromium, server: Postgres
) -> None:
    with Served(run, "--port", "0", "--database", server.address) as served:
        enter(browser, served.url, "Ada")
        browser.key("1", "k")
        browser.until("document.querySelector('#state').textContent === 'all saved'")
        server.stop()
        try:
            browser.key("2", "r", "3", "k")
            browser.until("document.querySelector('#state').textContent.includes('not answer')", 40)
            assert "2 answers kept in this browser" in text(browser, "#state")
            assert "secret" not in text(browser, "#state")
        finally:
            server.start()
        browser.until("document.querySelector('#state').textContent === 'all saved'", 60)
        code, out, err = served.interrupt()
    assert code == 0 and "3 answers are in postgresql://tester:***@" in out
    assert err.count("\n") == 2 and "answers again" in err  # said once, and once that it is back
    with Answers(server.address, Candidates(run / "candidates").run) as answers:
        assert len(answers.all()) == 3


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_word_has_contrast_enough(theme: int) -> None:
    style = (PAGE / "page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", blocks[theme]))
    for ink, paper in CHECKED:
        light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)
