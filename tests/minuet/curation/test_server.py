"""The site: blind, closed to strangers, and nothing in it that a request can lead astray."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image, ImageSequence
from starlette.types import ASGIApp

from minuet.contracts.errors import RequestError
from minuet.curation.answers import Answer
from minuet.curation.candidates import Candidates
from minuet.curation.database import Answers, LostError
from minuet.curation.looks import Manner
from minuet.curation.server import MAX_BODY_BYTES, SAFE, Desk, application, listen
from tests.minuet.curation.asking import Reply, ask
from tests.minuet.curation.made import TEACHERS, clip_of, verdict

TOKEN = "a-token-of-the-test"


class Site:
    """A site, and what it told its terminal."""

    def __init__(self, candidates: Candidates, answers: Answers, **more: Any) -> None:
        self.told: list[str] = []
        self.desk = Desk(
            candidates=candidates,
            answers=answers,
            manner=Manner(),
            tell=self.told.append,
            token=TOKEN,
            **more,
        )
        self.app: ASGIApp = application(self.desk)

    def get(self, path: str, headers: dict[str, str] | None = None, **query: object) -> Reply:
        return ask(self.app, f"/{TOKEN}/{path}", query=urlencode(query), headers=headers)

    def post(self, *rows: Any, headers: dict[str, str] | None = None) -> Reply:
        body = json.dumps({"answers": rows}).encode()
        return ask(self.app, f"/{TOKEN}/api/answers", body=body, headers=headers)


@pytest.fixture
def answers(candidates: Candidates, tmp_path: Any) -> Iterator[Answers]:
    with Answers(f"sqlite:///{tmp_path / 'a.sqlite'}", candidates.run) as opened:
        yield opened


@pytest.fixture
def site(candidates: Candidates, answers: Answers) -> Site:
    return Site(candidates, answers)


def test_a_browser_gets_no_teachers_name(site: Site, candidates: Candidates) -> None:
    seen = [site.get(name) for name in ("", "page.js", "page.css", "api/plan?", "index.html")]
    seen += [site.get("api/plan", annotator="Ada")]
    seen += [site.get(f"clips/{clip.clip}.webp") for clip in candidates.clips]
    seen += [site.get(f"stickers/{number}.webp") for number in candidates.by_request]
    seen += [site.post(asdict(verdict(candidates, "Ada", 0, "bold", "keep")))]
    assert sum(reply.status == 200 for reply in seen) == len(seen) - 1  # all but "api/plan?"
    for reply in seen:
        for teacher in TEACHERS:
            assert teacher.encode() not in reply.body
            assert teacher not in str(reply.headers)
    for clip in candidates.clips:
        assert clip.teacher not in clip.clip


def test_a_clip_is_an_animation_with_every_pixel_that_is_seen(
    site: Site, candidates: Candidates
) -> None:
    name = clip_of(candidates, 2, "calm")
    reply = site.get(f"clips/{name}.webp")
    assert reply.headers["content-type"] == "image/webp"
    with Image.open(BytesIO(reply.body)) as image:
        assert not {"exif", "xmp", "icc_profile"} & set(image.info)
        frames = [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(image)]
    given, found = candidates.frames(name), np.stack(frames)
    np.testing.assert_array_equal(found[..., 3], given[..., 3])
    seen = given[..., 3] > 0
    np.testing.assert_array_equal(found[seen], given[seen])


def test_a_plan_holds_what_was_answered_and_goes_on(site: Site, candidates: Candidates) -> None:
    mine = verdict(candidates, "Ada", 0, "bold", "keep")
    others = verdict(candidates, "Bob", 0, "bold", "reject")
    assert site.post(asdict(mine), asdict(others)).json == {"new": 2}
    assert site.post(asdict(mine)).json == {"new": 0}
    plan = site.get("api/plan", annotator="Ada").json
    assert [row["id"] for row in plan["answers"]] == [mine.id]
    assert len(plan["looks"]) == 6


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:8765"},
        {"host": ""},
        {"host": "127.0.0.1.evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
    ],
)
def test_strangers_are_refused(site: Site, candidates: Candidates, headers: dict[str, str]) -> None:
    row = asdict(verdict(candidates, "Ada", 0, "bold", "keep"))
    assert site.get("", headers=headers).status == 403
    assert site.post(row, headers=headers).status == 403
    assert site.desk.answers.all() == []


@pytest.mark.parametrize(
    "host", ["localhost:8765", "127.0.0.1", "[::1]:8765", "192.168.0.7:80", socket.gethostname()]
)
def test_the_servers_own_names_are_answered(site: Site, host: str) -> None:
    assert site.get("", headers={"host": host, "origin": f"http://{host}"}).status == 200


@pytest.mark.parametrize("path", ["/", "//", "/x/", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", "/é\udcff/"])
def test_without_the_token_there_is_nothing(site: Site, path: str) -> None:
    reply = ask(site.app, path)
    assert reply.status == 403 and TOKEN.encode() not in reply.body


def test_the_token_is_another_at_each_start(candidates: Candidates, answers: Answers) -> None:
    tokens = {
        Desk(candidates=candidates, answers=answers, manner=Manner()).token for _ in range(20)
    }
    assert len(tokens) == 20 and min(map(len, tokens)) >= 32


@pytest.mark.parametrize(
    "path",
    [
        *("../candidates.py", "clips/../../index.json", "%2e%2e/candidates.py", "page/", "clips/"),
        *("clips/..%2f..%2findex.webp", "clips//etc/passwd.webp", "clips/nothing.webp"),
        *(
            "stickers/99.webp",
            "stickers/-1.webp",
            "stickers/1e0.webp",
            "others/1.webp",
            "__init__.py",
        ),
    ],
)
def test_no_path_leads_to_a_file(site: Site, path: str) -> None:
    assert site.get(path).status == 404


def test_every_answer_keeps_the_page_in_its_place(site: Site) -> None:
    for reply in (site.get(""), site.get("nothing"), ask(site.app, "/"), site.post()):
        for name, value in SAFE.items():
            assert reply.headers[name.lower()] == value
    assert "unsafe" not in SAFE["Content-Security-Policy"]
    page = site.get("").body.decode()
    assert "<style" not in page and "style=" not in page and " on" not in page.replace(" only", "")
    assert "http:" not in page and "https:" not in page


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"answers": {}}', 400),
        (b'{"answers": []}', 400),
        (b'{"answers": [1]}', 400),
        (b'{"answers": [{}]}', 400),
        (b"[" * 200_000, 400),
        (b'{"answers": [' + b"1," * 250 + b"1]}", 400),
        (b" " * (MAX_BODY_BYTES + 1), 413),
    ],
)
def test_what_is_no_answer_is_refused_in_words(site: Site, body: bytes, status: int) -> None:
    reply = ask(site.app, f"/{TOKEN}/api/answers", body=body)
    assert reply.status == status and reply.json["error"]


def test_forms_are_not_taken(site: Site) -> None:
    reply = site.post(headers={"content-type": "text/plain"})
    assert reply.status == 415


def test_an_answer_to_another_run_is_refused(site: Site, candidates: Candidates) -> None:
    row = asdict(verdict(candidates, "Ada", 0, "bold", "keep"))
    for wrong in ({"clip": "0" * 16}, {"request": 5}):
        reply = site.post({**row, **wrong})
        assert reply.status == 400 and "no clip" in reply.json["error"]
    assert site.desk.answers.all() == []


@pytest.mark.parametrize("name", ["", "x" * 65, "a\u202eb", "=x"])
def test_a_name_that_is_none_is_refused(site: Site, name: str) -> None:
    assert site.get("api/plan", annotator=name).status == 400


def complete(candidates: Candidates, site: Site, request: int) -> list[dict[str, Any]]:
    """Everything that Ada is asked of a request, answered."""
    plan = site.get("api/plan", annotator="Ada").json
    look = next(look for look in plan["looks"] if look["request"] == request)
    base = asdict(verdict(candidates, "Ada", request, "bold", "keep"))
    rows = [{**base, "clip": clip, "id": f"verdict-{clip}"} for clip in look["clips"]]
    for left, right in look["pairs"]:
        clip, other = sorted((left, right))
        about = {"kind": "preference", "clip": clip, "other": other, "value": "tie"}
        rows.append({**base, **about, "id": f"pair-{clip}-{other}"})
    return rows


def test_scores_come_after_the_whole_answer_and_never_before(
    candidates: Candidates, answers: Answers
) -> None:
    site = Site(candidates, answers, scores=True)
    rows = complete(candidates, site, 1)
    for row in rows:
        assert site.get("api/scores", annotator="Ada", request=1).status == 403
        site.post(row)
    found = site.get("api/scores", annotator="Ada", request=1)
    assert found.status == 200
    assert found.json[clip_of(candidates, 1, "bold")]["refused"] == "painted over"
    assert site.get("api/scores", annotator="Bob", request=1).status == 403
    assert site.get("api/scores", annotator="Ada", request=99).status == 400
    shy = Site(candidates, answers)
    assert shy.get("api/scores", annotator="Ada", request=1).status == 403


def test_a_lost_database_is_said_once_and_so_is_its_return(
    site: Site, candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = asdict(verdict(candidates, "Ada", 0, "bold", "keep"))

    def lost(_: object, rows: list[Answer]) -> int:
        raise LostError("x: the database does not answer (gone).")

    with monkeypatch.context() as patch:
        patch.setattr(Answers, "add", lost)
        for _ in range(3):
            reply = site.post(row)
            assert reply.status == 503 and "does not answer" in reply.json["error"]
    assert site.post(row).status == 200
    assert len(site.told) == 2
    assert "send them again" in site.told[0] and "answers again" in site.told[1]


def test_two_people_answer_at_once(site: Site, candidates: Candidates) -> None:
    def answer(who: str) -> None:
        for request in candidates.by_request:
            for teacher in TEACHERS:
                row = asdict(verdict(candidates, who, request, teacher, "keep"))
                replies.append(site.post(row).json)

    replies: list[Any] = []
    threads = [threading.Thread(target=answer, args=(who,)) for who in ("Ada", "Bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [{"new": 1}] * 36 and len(site.desk.answers.all()) == 36


def test_a_port_that_is_taken_is_one_message() -> None:
    with listen("127.0.0.1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(RequestError, match=f"port {port}: .*in use; choose another --port"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(RequestError, match=r"192\.0\.2\.1, port 0"):
        listen("192.0.2.1", 0)
