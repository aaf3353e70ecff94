"""Candidates and a database -> a local page that people answer on; it knows no teacher's name.

Every address begins with a token that only the starter's terminal shows. What a request may name
is looked up in tables made beforehand: nothing of it becomes a path on the disk.
"""

import contextlib
import ipaddress
import json
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minuet.contracts.clip import FPS
from minuet.contracts.errors import RequestError
from minuet.curation.answers import REASONS, Answer, answer_from, name_fault, standing
from minuet.curation.candidates import Candidates
from minuet.curation.database import Answers, LostError
from minuet.curation.looks import Manner, looks
from minuet.curation.tables import check_known
from minuet.media import KINDS

T = TypeVar("T")

MAX_BODY_BYTES = 256 << 10
MAX_ANSWERS = 200  # in one request
CLIPS_HELD = 256  # encoded clips in memory

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the token stands in the address
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(slots=True, kw_only=True)
class Desk:
    """What the pages are served from."""

    candidates: Candidates
    answers: Answers
    manner: Manner
    scores: bool = False  # the judge's, shown once all of a look is answered
    tell: Callable[[str], None] = print
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _lost: bool = False

    def read(self) -> list[Answer]:
        """All answers."""
        return self._watched(self.answers.all)

    def add(self, answers: Sequence[Answer]) -> int:
        """Store answers."""
        return self._watched(lambda: self.answers.add(answers))

    def _watched(self, work: Callable[[], T]) -> T:
        """Say once that the database is away, and once that it is back."""
        try:
            done = work()
        except LostError as error:
            if not self._lost:
                self.tell(f"{error} Browsers keep their answers and send them again.")
            self._lost = True
            raise
        if self._lost:
            self.tell(f"{self.answers.place}: the database answers again.")
        self._lost = False
        return done


def application(desk: Desk) -> ASGIApp:
    """The whole site."""

    pages = _pages()

    def page(request: Request) -> Response:
        name = request.path_params.get("name") or "index.html"
        if name not in pages:
            raise HTTPException(404)
        return Response(pages[name], media_type=TYPES[name.rpartition(".")[2]])

    async def post(request: Request) -> Response:
        rows = await _rows(request)
        return JSONResponse({"new": await run_in_threadpool(_store, desk, rows)})

    routes = [
        Route("/{token}/", page),
        Route("/{token}/api/plan", lambda request: JSONResponse(_plan(desk, _asker(request)))),
        Route("/{token}/api/scores", lambda request: JSONResponse(_scores(desk, request))),
        Route("/{token}/api/answers", post, methods=["POST"]),
        Route("/{token}/{kind}/{name}.webp", _pictures(desk)),
        Route("/{token}/{name}", page),
    ]
    said: Mapping[Any, Any] = {RequestError: _told, HTTPException: _refused}
    site = Starlette(routes=routes, exception_handlers=said)
    site.router.redirect_slashes = False
    return Guard(site, desk.token)


def _pictures(desk: Desk) -> Callable[[Request], Response]:
    """Clips and stickers, encoded once while they are asked for."""
    stickers = {str(number): number for number in desk.candidates.by_request}

    @lru_cache(CLIPS_HELD)
    def clip(name: str) -> bytes:
        return KINDS[".webp"].encode(desk.candidates.frames(name), FPS)

    @lru_cache(CLIPS_HELD)
    def sticker(number: int) -> bytes:
        return KINDS[".webp"].encode(desk.candidates.sticker(number)[None], FPS)

    def picture(request: Request) -> Response:
        kind, name = request.path_params["kind"], request.path_params["name"]
        if kind == "clips" and name in desk.candidates.by_name:
            data = clip(name)
        elif kind == "stickers" and name in stickers:
            data = sticker(stickers[name])
        else:
            raise HTTPException(404)
        held = {"Cache-Control": "private, max-age=86400, immutable"}
        return Response(data, media_type="image/webp", headers=held)

    return picture


def _pages() -> dict[str, bytes]:
    """The page's files, read once."""
    folder = files("minuet.curation") / "page"
    known = (entry for entry in folder.iterdir() if entry.name.rpartition(".")[2] in TYPES)
    return {entry.name: entry.read_bytes() for entry in known}


async def _told(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 503 if isinstance(error, LostError) else 400)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


def _asker(request: Request) -> str:
    name = request.query_params.get("annotator", "")
    if wrong := name_fault(name):
        raise RequestError(f"{wrong}.")
    return name


def _plan(desk: Desk, annotator: str) -> dict[str, Any]:
    """All that a page needs to go on without asking again, pictures excepted."""
    said = desk.read()
    mine = standing(answer for answer in said if answer.annotator == annotator)
    people = {answer.annotator for answer in said} | {annotator}
    return {
        "annotator": annotator,
        "run": desk.candidates.run,
        "reasons": [[letter, word, label] for letter, (word, label) in REASONS.items()],
        "looks": [asdict(look) for look in looks(desk.candidates, annotator, desk.manner, said)],
        "answers": [asdict(answer) for answer in mine],
        "people": len(people),
        "scores": desk.scores,
    }


def _scores(desk: Desk, request: Request) -> dict[str, Any]:
    """What the automatic judge says of a request, for a person who has answered all of it."""
    annotator, number = _asker(request), request.query_params.get("request", "")
    said = desk.read()
    mine = {
        (answer.clip, answer.other)
        for answer in standing(said)
        if answer.annotator == annotator and not answer.turn
    }
    plan = looks(desk.candidates, annotator, desk.manner)
    look = next((one for one in plan if str(one.request) == number and not one.turn), None)
    if look is None:
        raise RequestError("no such request.")
    asked = {(name, "") for name in look.clips} | {_ordered(*pair) for pair in look.pairs}
    if not desk.scores or not asked <= mine:
        raise HTTPException(403, "scores are shown when all of it is answered.")
    clips = desk.candidates.by_request[look.request]
    return {clip.clip: {**clip.scores, "refused": clip.refused} for clip in clips}


def _ordered(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


async def _rows(request: Request) -> list[Any]:
    """The answers in a request's body, as plain values; read no further than is allowed."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise HTTPException(415, "JSON is needed.")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"more than {MAX_BODY_BYTES >> 10} KiB at once.")
    try:
        rows = json.loads(body)["answers"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise HTTPException(400, "not JSON with a list of answers.") from error
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_ANSWERS:
        raise HTTPException(400, f"1 to {MAX_ANSWERS} answers are taken at once.")
    return rows


def _store(desk: Desk, rows: Sequence[Any]) -> int:
    answers = []
    for number, row in enumerate(rows, 1):
        where = f"answer {number}"
        if not isinstance(row, dict):
            raise RequestError(f"{where}: not an object.")
        answers.append(answer_from(row, where))
        check_known(answers[-1], desk.candidates, where)
    return desk.add(answers)


@dataclass(frozen=True, slots=True)
class Guard:
    """Lets in only who knows the token, from a page of this very server, under an honest name."""

    inner: ASGIApp
    token: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on; every answer carries the headers that keep it in its place."""

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SAFE)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if scope["type"] != "http":
            return
        refused = self._refusal(scope["path"], Headers(scope=scope))
        answer = JSONResponse({"error": refused}, 403) if refused else self.inner
        await answer(scope, receive, safely)

    def _refusal(self, path: str, headers: Headers) -> str:
        """Why a request is not answered; "" if it is."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not _honest(host):
            return "this host name is not one of this server's."
        if origin is not None and origin.partition("://")[2] != host:
            return "asked from another site's page."
        said = path.lstrip("/").partition("/")[0]
        if not secrets.compare_digest(said.encode(errors="replace"), self.token.encode()):
            return "the address is of an earlier start; open the one that the terminal shows."
        return ""


def _honest(host: str) -> bool:
    """Whether a Host header is none that a foreign name server made up (DNS rebinding).

    Such an attack needs a name: an address in numbers, localhost and this machine's own name are
    beyond its reach.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name in ("localhost", socket.gethostname()):
        return True
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name.strip("[]")))
    return False


def listen(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        RequestError: the port is taken, or no such address is this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise RequestError(
            f"{host}, port {port}: {error.strerror or error}; choose another --port, or 0 for "
            "any that is free."
        ) from error
    return bound


def serve(desk: Desk, bound: socket.socket) -> None:
    """Answer until Ctrl-C, which ends in KeyboardInterrupt once open requests are answered."""
    import uvicorn

    config = uvicorn.Config(
        application(desk),
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=128,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[bound])
