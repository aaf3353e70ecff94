"""Answers -> a database, SQLite or PostgreSQL, where they are added and never changed."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

from sqlalchemy import BigInteger, String, Table, create_engine, event, inspect, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import CreateIndex, CreateTable

from minuet.contracts.errors import RequestError
from minuet.curation.answers import COLUMNS, Answer

DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
WAIT_S = 10  # for a lock, or for a server that does not answer
LARGEST_ASK = 500  # ids in one question: SQLite takes 32766 values, and no plan likes thousands


class LostError(RequestError):
    """The database did not do what was asked; the answer is still where it came from."""


class Base(DeclarativeBase):
    """The tables."""


class Row(Base):
    """An answer as it is stored."""

    __tablename__ = "minuet_answers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    run: Mapped[str] = mapped_column(String(32), index=True)
    annotator: Mapped[str] = mapped_column(String(64))
    request: Mapped[int] = mapped_column(BigInteger)
    turn: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    clip: Mapped[str] = mapped_column(String(64))
    other: Mapped[str] = mapped_column(String(64))
    value: Mapped[str] = mapped_column(String(16))
    reasons: Mapped[str] = mapped_column(String(256))  # a JSON list
    at_ms: Mapped[int] = mapped_column(BigInteger)


TABLE = cast(Table, Row.__table__)


class Answers:
    """The answers to one run's candidates."""

    def __init__(self, address: str | Path, run: str) -> None:
        """Open a file of SQLite, or the database at a URL; make its table where there is none.

        Raises:
            RequestError: not an address, or a table of another minuet is in it.
            LostError: no answer from there.
        """
        self.run = run
        url = _url(address)
        self.place = str(address) if isinstance(address, Path) else url.render_as_string()
        self._engine = create_engine(
            url.set(drivername=DRIVERS[url.get_backend_name()]),
            pool_pre_ping=True,
            connect_args=_patience(url),
        )
        if url.get_backend_name() == "sqlite":
            event.listen(self._engine, "connect", _durable)
        with self._speaking():
            self._make_table()
            self._check_table()

    def _make_table(self) -> None:
        """Unless it is there: of two that start together only one makes it."""
        with self._engine.begin() as connection:
            connection.execute(CreateTable(TABLE, if_not_exists=True))
            for index in TABLE.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))

    def _check_table(self) -> None:
        found = {column["name"] for column in inspect(self._engine).get_columns(TABLE.name)}
        if found != {"run", *COLUMNS}:
            raise RequestError(
                f"{self.place}: its table {TABLE.name} was made by another minuet; "
                "export the answers with that one, and import them into a new database."
            )

    def add(self, answers: Sequence[Answer]) -> int:
        """Store answers, all or none; those that are there already are not stored twice.

        Returns:
            How many were new.

        Raises:
            RequestError: an id is taken by another answer.
            LostError: the database is away.
        """
        if not answers:
            return 0
        dialect = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        put = dialect.insert(Row).on_conflict_do_nothing().returning(Row.id)
        with self._speaking(), Session(self._engine) as session, session.begin():
            # The write comes first: a transaction of SQLite that has read may not wait to write.
            new = len(session.scalars(put, [self._row(answer) for answer in answers]).all())
            self._check_same(session, answers)
        return new

    def _check_same(self, session: Session, answers: Sequence[Answer]) -> None:
        sent = {answer.id: self._row(answer) for answer in answers}
        ids = list(sent)
        for first in range(0, len(ids), LARGEST_ASK):
            some = select(Row).where(Row.id.in_(ids[first : first + LARGEST_ASK]))
            for row in session.scalars(some):
                if any(getattr(row, name) != value for name, value in sent[row.id].items()):
                    raise RequestError(f"the id {row.id} is taken by another answer.")

    def all(self) -> list[Answer]:
        """Every answer to this run, oldest first.

        Raises:
            LostError: the database is away.
        """
        asked = select(Row).where(Row.run == self.run).order_by(Row.at_ms, Row.id)
        with self._speaking(), Session(self._engine) as session:
            return [_answer(row) for row in session.scalars(asked)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def _row(self, answer: Answer) -> dict[str, Any]:
        row: dict[str, Any] = {name: getattr(answer, name) for name in COLUMNS}
        return {**row, "run": self.run, "reasons": json.dumps(answer.reasons)}

    @contextmanager
    def _speaking(self) -> Generator[None]:
        """A database's own words become one message, without its password."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            said = str(cause).strip().partition("\n")[0]
            raise LostError(f"{self.place}: the database does not answer ({said}).") from error


def _answer(row: Row) -> Answer:
    values = {name: getattr(row, name) for name in COLUMNS}
    return Answer(**{**values, "reasons": tuple(json.loads(row.reasons))})


def _url(address: str | Path) -> URL:
    if isinstance(address, Path):
        return URL.create("sqlite", database=str(address))
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise RequestError(
            "the database's address is not one; write postgresql://name:password@host/database."
        ) from error
    name = url.get_backend_name()
    if name not in DRIVERS:
        raise RequestError(f"{name}: not a database that is known here: {sorted(DRIVERS)}.")
    return url


def _patience(url: URL) -> dict[str, Any]:
    """How long each library waits, in the library's own word."""
    return {"timeout" if url.get_backend_name() == "sqlite" else "connect_timeout": WAIT_S}


def _durable(connection: Any, _: object) -> None:
    """Each answer is on the disk before it is said to be saved; readers wait for no writer."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
