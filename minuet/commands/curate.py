"""People look at teachers' clips, blind and side by side; what they keep, the student learns."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minuet.commands.common import Json, Out, Seed
from minuet.contracts.errors import RequestError

if TYPE_CHECKING:
    from minuet.curation.candidates import Candidates
    from minuet.curation.database import Answers
    from minuet.curation.reports import Duel, Interval, PeoplesReport

PORT = 8765  # a fixed one: what a browser has not sent yet, it keeps for this address
ALONE = ("127.0.0.1", "::1", "localhost")


def curate(
    run: Annotated[Path, typer.Argument(help="a distillation run's folder")],
    report: Annotated[
        bool, typer.Option("--report", help="agreement and win rates so far; no page")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="make RUN/kept of what people keep; no page")
    ] = False,
    unseen: Annotated[
        str, typer.Option(help="with --apply, requests nobody looked at: drop, or judge")
    ] = "drop",
    give: Annotated[
        Path | None, typer.Option("--export", help="write all answers: .csv or .parquet; no page")
    ] = None,
    take: Annotated[
        Path | None, typer.Option("--import", help="add answers from such a file; no page")
    ] = None,
    database: Annotated[
        str,
        typer.Option(
            envvar="MINUET_DATABASE",
            show_envvar=True,
            help="postgresql://... for several machines; none: RUN/answers.sqlite",
        ),
    ] = "",
    order: Annotated[
        str, typer.Option(help="what comes first: shuffled, disputed, doubtful")
    ] = "shuffled",
    repeat: Annotated[
        int, typer.Option(min=0, help="show one of so many requests twice; 0: none")
    ] = 10,
    pairs: Annotated[bool, typer.Option(help="ask which of two is better")] = True,
    scores: Annotated[
        bool, typer.Option("--scores", help="show the judge's scores, after the answer")
    ] = False,
    host: Annotated[str, typer.Option(help="the address to listen at")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = PORT,
    browser: Annotated[bool, typer.Option(help="open the page in a browser")] = True,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Ask people which of the teachers' clips a student should learn from.

    Without --report, --apply, --export or --import a page is served until Ctrl-C.
    """
    from minuet.curation.candidates import Candidates
    from minuet.curation.database import Answers
    from minuet.curation.kept import UNSEEN
    from minuet.curation.looks import ORDERS, Manner

    _one_of("--unseen", unseen, UNSEEN)
    _one_of("--order", order, ORDERS)
    out = Out(json=json)
    candidates = Candidates(run / "candidates")
    with Answers(database or run / "answers.sqlite", candidates.run) as answers:
        done: dict[str, Any] = {}
        if take:
            done |= _import(out, take, candidates, answers)
        if give:
            done |= _export(out, give, answers)
        if report:
            done |= _report(out, candidates, answers, seed)
        if apply:
            done |= _apply(out, run, candidates, answers, unseen)
        if not done:
            manner = Manner(seed=seed, order=order, repeat=repeat, pairs=pairs)
            done = _serve(out, candidates, answers, manner, scores, (host, port), browser)
        out.finish(done)


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RequestError(f"{option} is one of {', '.join(known)}, got {value!r}.")


def _import(out: Out, path: Path, candidates: "Candidates", answers: "Answers") -> dict[str, Any]:
    from minuet.curation.tables import read_table

    rows = read_table(path, candidates)
    new = answers.add(rows)
    out.say(f"{path}: {len(rows)} answers, {new} of them new.")
    return {"imported": len(rows), "new": new}


def _export(out: Out, path: Path, answers: "Answers") -> dict[str, Any]:
    from minuet.curation.tables import write_table

    rows = answers.all()
    write_table(path, rows)
    out.say(f"{path}: {len(rows)} answers.")
    return {"exported": len(rows)}


def _apply(
    out: Out, run: Path, candidates: "Candidates", answers: "Answers", unseen: str
) -> dict[str, Any]:
    from minuet.curation.kept import apply

    told, aside = apply(run, candidates, answers.all(), unseen)
    if aside:
        out.say(f"{aside}: the kept set that was there before.")
    if taught := [name for name in ("steps", "tuned") if (run / name).exists()]:
        out.warn(
            f"{run}: {' and '.join(taught)} learnt from an earlier kept set; move "
            f"{'it' if len(taught) == 1 else 'both'} away, and `minuet distill` teaches anew."
        )
    left = "left out" if unseen == "drop" else "left to the judge"
    missing = len(candidates.by_request) - told["seen"]
    out.say(
        f"{run / 'kept'}: {told['kept']} clips for {len(candidates.by_request)} requests; "
        f"{missing} that nobody looked at are {left}. `minuet distill` goes on from there."
    )
    return {"applied": told, "moved_aside": str(aside) if aside else None}


def _report(out: Out, candidates: "Candidates", answers: "Answers", seed: int) -> dict[str, Any]:
    from minuet.curation.reports import report

    made = report(candidates, answers.all(), seed)
    out.table(
        (
            "annotator",
            "requests",
            "of",
            "verdicts twice",
            "changed",
            "preferences twice",
            "changed",
        ),
        _people(made),
    )
    out.say(f"\nkeep or reject, Krippendorff's alpha: {_with(made.alpha, made.alpha_interval)}")
    out.say(f"preference, Krippendorff's alpha: {_number(made.preference_alpha)}\n")
    out.table(
        ("teacher", "kept", "95 %", "verdicts"),
        [
            (row.teacher, _number(row.rate), _between(row.interval), row.verdicts)
            for row in made.kept
        ],
    )
    out.say()
    head = ("teacher", "against", "win rate", "95 %", "net win", "95 %", "won, lost, tied")
    out.table(head, [_duel(row) for row in (*made.duels, *made.overall)])
    if made.disputed:
        out.say("\nmost disputed requests: " + ", ".join(str(row[0]) for row in made.disputed))
    return {"report": asdict(made)}


def _people(made: "PeoplesReport") -> list[tuple[object, ...]]:
    noise = {row.annotator: row for row in made.noise}
    rows: list[tuple[object, ...]] = []
    for name, count in made.answered.items():
        twice = noise.get(name)
        again = (
            (twice.verdicts, twice.verdicts_changed, twice.preferences, twice.preferences_changed)
            if twice
            else (0, 0, 0, 0)
        )
        rows.append((name, count, made.requests, *again))
    return rows


def _duel(row: "Duel") -> tuple[object, ...]:
    return (
        row.teacher,
        row.against,
        _number(row.win_rate),
        _between(row.win_interval),
        _number(row.net_win),
        _between(row.net_interval),
        f"{row.wins}, {row.losses}, {row.ties}",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _between(interval: "Interval") -> str:
    return "-" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def _with(value: float | None, interval: "Interval") -> str:
    return f"{_number(value)} ({_between(interval)})"


def _serve(
    out: Out,
    candidates: "Candidates",
    answers: "Answers",
    manner: Any,
    scores: bool,
    place: tuple[str, int],
    browser: bool,
) -> dict[str, Any]:
    """Until Ctrl-C; then say how much there is."""
    from minuet.curation.server import Desk, listen, serve

    bound = listen(*place)
    desk = Desk(candidates=candidates, answers=answers, manner=manner, scores=scores, tell=out.warn)
    page = f"http://{_shown(place[0])}:{bound.getsockname()[1]}/{desk.token}/"
    if place[0] not in ALONE:
        out.warn("the page is open to the network, unencrypted; who has its address may answer.")
    out.say(f"{len(candidates.by_request)} requests, answers go to {answers.place}")
    try:
        out.warn(f"open {page}") if out.json else out.say(f"\n    {page}\n\nCtrl-C ends.")
        if browser:
            _open(page)
        serve(desk, bound)
    except KeyboardInterrupt:
        pass  # the usual end of a server
    count = len(answers.all())
    out.say(f"\n{count} answers are in {answers.place}. Next: minuet curate RUN --report, --apply")
    return {"answers": count, "database": answers.place}


def _shown(host: str) -> str:
    """A host as it stands in an address."""
    import socket

    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _open(page: str) -> None:
    """In a browser with a window, if there is one; one in the terminal would take it over."""
    import webbrowser

    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return
    if type(found) is not webbrowser.GenericBrowser:
        found.open(page)
