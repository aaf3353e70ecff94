"""Answers as a table that people's own tools read, CSV or Parquet, and back."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import write_bytes
from minuet.contracts.recipe import short
from minuet.curation.answers import COLUMNS, WHOLE, Answer, answer_from
from minuet.curation.candidates import Candidates

MAX_TABLE_BYTES = 1 << 30
KINDS = (".csv", ".parquet")
MAY_BE_EMPTY = ("other", "value", "reasons")  # for which Parquet also has null


def kind_of(path: Path) -> str:
    """The kind of table that a file name asks for.

    Raises:
        RequestError: neither CSV nor Parquet.
    """
    if path.suffix.lower() not in KINDS:
        raise RequestError(f"{path}: a table of answers ends in {' or '.join(KINDS)}.")
    return path.suffix.lower()


def write_table(path: Path, answers: Sequence[Answer]) -> None:
    """Write answers, whole or not at all; reasons are words with a space between."""
    rows = [
        {**dict(zip(COLUMNS, astuple(row), strict=True)), "reasons": " ".join(row.reasons)}
        for row in answers
    ]
    write = _csv if kind_of(path) == ".csv" else _parquet
    write_bytes(path, write(rows))


def _csv(rows: Iterable[dict[str, Any]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as arrow
    from pyarrow import parquet

    of = {name: arrow.int64() if name in WHOLE else arrow.string() for name in COLUMNS}
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.Table.from_pylist(rows, arrow.schema(list(of.items()))), sink)
    return bytes(sink.getvalue().to_pybytes())


def read_table(path: Path, candidates: Candidates) -> list[Answer]:
    """Every row of a table as an answer to these candidates.

    Raises:
        RequestError: with the row: another column, an unknown clip, a duplicate, a wrong value.
        DamagedError: missing, too large, or not a table.
    """
    kind = kind_of(path)
    if not path.is_file():
        raise DamagedError(f"{path}: missing, or not a file.")
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise DamagedError(f"{path}: larger than {MAX_TABLE_BYTES >> 20} MiB; refused.")
    answers: list[Answer] = []
    ids: dict[str, int] = {}
    for number, row in (_csv_rows if kind == ".csv" else _parquet_rows)(path):
        where = f"{path}: row {number}"
        answer = answer_from(row, where)
        check_known(answer, candidates, where)
        if before := ids.setdefault(answer.id, number):
            if before != number:
                raise RequestError(f"{where}: its id is that of row {before}; each is given once.")
        answers.append(answer)
    return answers


def check_known(answer: Answer, candidates: Candidates, where: str) -> None:
    """Refuse an answer to what was not asked.

    Raises:
        RequestError: a clip that is not of its request.
    """
    for name in (answer.clip, answer.other):
        clip = candidates.by_name.get(name)
        if name and (clip is None or clip.request != answer.request):
            raise RequestError(
                f"{where}: no clip {short(name)} of request {answer.request} is among the run's "
                f"{len(candidates.clips)} candidates; is the answer to another run?"
            )


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their line: the head is line 1."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            _check_columns(path, reader.fieldnames or ())
            for row in reader:
                yield reader.line_num, _read(row, f"{path}: row {reader.line_num}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise DamagedError(f"{path}: not readable as CSV in UTF-8 ({error}).") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their number, from 1."""
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names)
            batches = file.iter_batches(batch_size=4096)
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                empty = {name: "" for name in MAY_BE_EMPTY if row[name] is None}
                yield number, _read({**row, **empty}, f"{path}: row {number}")
    except (arrow.ArrowException, OSError) as error:
        raise DamagedError(f"{path}: not readable as Parquet ({error}).") from error


def _check_columns(path: Path, found: Sequence[str]) -> None:
    if sorted(found) != sorted(COLUMNS):
        raise RequestError(
            f"{path}: its columns are {short(list(found))}; "
            f"needed are, in any order: {', '.join(COLUMNS)}."
        )


def _read(row: dict[Any, Any], where: str) -> dict[str, Any]:
    """Text becomes what an answer is made of."""
    if None in row or None in row.values():
        raise RequestError(f"{where}: {len(COLUMNS)} values are needed, in the order of the head.")
    try:
        whole = {name: int(str(row[name])) for name in WHOLE}  # 1.5 is none
    except ValueError as error:
        raise RequestError(f"{where}: {', '.join(WHOLE)} are whole numbers ({error}).") from error
    reasons = str(row["reasons"]).split()
    return {**row, **whole, "reasons": reasons}
