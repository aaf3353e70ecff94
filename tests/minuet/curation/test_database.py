"""What was saved is there, once, whoever wrote at the same time and whatever died after."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from minuet.contracts.errors import RequestError
from minuet.curation.candidates import Candidates
from minuet.curation.database import Answers, LostError
from tests.minuet.curation.made import preference, verdict
from tests.minuet.curation.postgres import Postgres

WRITER = """
import sys, uuid
from minuet.curation.answers import Answer
from minuet.curation.database import Answers
with Answers(sys.argv[1], sys.argv[2]) as answers:
    for number in range(100_000):
        answer = Answer(id=str(uuid.uuid4()), annotator=sys.argv[3], request=0, turn=0,
            kind="verdict", clip="c", other="", value="keep", reasons=(), at_ms=number)
        answers.add([answer])
        print(answer.id, flush=True)
"""


@pytest.fixture
def run_name() -> str:
    """A run of the test's own: the server is shared."""
    return uuid.uuid4().hex


def test_answers_come_back_once_however_often_they_are_sent(
    address: str, run_name: str, candidates: Candidates
) -> None:
    sent = [
        replace(verdict(candidates, "Zoë <b>", 0, "bold", "keep"), id=str(uuid.uuid4())),
        replace(preference(candidates, "Ada", 1, "bold", "calm"), id=str(uuid.uuid4())),
    ]
    with Answers(address, run_name) as answers:
        assert answers.add(sent) == 2
        assert answers.add([sent[1], sent[1]]) == 0
        assert answers.add([]) == 0
    with Answers(address, run_name) as answers:
        assert answers.all() == sent
    with Answers(address, uuid.uuid4().hex) as answers:
        assert answers.all() == []


def test_an_id_with_another_answer_is_refused_and_the_whole_lot_with_it(
    address: str, run_name: str, candidates: Candidates
) -> None:
    first = replace(verdict(candidates, "Ada", 0, "bold", "keep"), id=str(uuid.uuid4()))
    fresh = replace(verdict(candidates, "Ada", 0, "calm", "keep"), id=str(uuid.uuid4()))
    with Answers(address, run_name) as answers:
        answers.add([first])
        with pytest.raises(RequestError, match=f"the id {first.id} is taken"):
            answers.add([fresh, replace(first, value="reject")])
        assert answers.all() == [first]


def test_two_people_at_once_lose_nothing(
    address: str, run_name: str, candidates: Candidates
) -> None:
    def write(who: str) -> None:
        with Answers(address, run_name) as answers:
            for one in mine[who]:
                answers.add([one])

    clip = verdict(candidates, "x", 0, "bold", "keep")
    mine = {
        who: [replace(clip, annotator=who, id=str(uuid.uuid4())) for _ in range(60)]
        for who in ("Ada", "Bob", "Eve")
    }
    threads = [threading.Thread(target=write, args=(who,)) for who in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Answers(address, run_name) as answers:
        found = answers.all()
    assert {one.id for one in found} == {one.id for rows in mine.values() for one in rows}
    assert len(found) == 180


def test_what_was_said_to_be_saved_is_there_after_kill_9(
    address: str, run_name: str, candidates: Candidates
) -> None:
    after = replace(verdict(candidates, "Ada", 0, "bold", "keep"), id=str(uuid.uuid4()))
    command = [sys.executable, "-c", WRITER, address, run_name]
    writers = [
        subprocess.Popen([*command, who], stdout=subprocess.PIPE, text=True)
        for who in ("Ada", "Bob")
    ]
    said: list[str] = []
    for writer in writers:
        assert writer.stdout
        said += [writer.stdout.readline().strip() for _ in range(25)]
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.stdout
        said += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.stdout.close()
        writer.wait()
    with Answers(address, run_name) as answers:
        found = {one.id for one in answers.all()}
        assert answers.add([after]) == 1
    assert set(said) <= found and len(said) >= 50
    assert len(found) <= len(said) + 2  # each may have died between saving and saying


def test_sqlite_waits_for_the_disk(tmp_path: Path) -> None:
    with Answers(f"sqlite:///{tmp_path / 'a.sqlite'}", "run") as answers:
        connection = answers._engine.raw_connection()
        cursor = connection.cursor()
        found = [
            cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]
        connection.close()
    assert found == ["wal", 2]  # 2: FULL


def test_a_server_that_goes_away_is_one_message_and_comes_back(
    server: Postgres, run_name: str, candidates: Candidates
) -> None:
    first, second = (
        replace(verdict(candidates, "Ada", 0, "bold", "keep"), id=str(uuid.uuid4()))
        for _ in range(2)
    )
    with Answers(server.address, run_name) as answers:
        answers.add([first])
        server.stop()
        try:
            with pytest.raises(LostError, match="the database does not answer") as caught:
                answers.add([second])
            assert "secret" not in str(caught.value) and "tester" in str(caught.value)
        finally:
            server.start()
        assert answers.add([second]) == 1
        assert {one.id for one in answers.all()} == {first.id, second.id}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", "the database's address is not one"),
        ("mysql://root@localhost/x", "mysql: not a database that is known here"),
        ("postgresql://me:secret@/db?host=/nowhere", "does not answer"),
        ("sqlite:////nowhere/answers.sqlite", "does not answer .*unable to open"),
    ],
)
def test_a_wrong_address_is_refused_without_its_password(address: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        Answers(address, "run")
    assert "secret" not in str(caught.value)


def test_a_file_may_have_any_name(tmp_path: Path, candidates: Candidates) -> None:
    path = tmp_path / "what? #1 100%" / "answers.sqlite"
    path.parent.mkdir()
    with Answers(path, "run") as answers:
        answers.add([verdict(candidates, "Ada", 0, "bold", "keep")])
        assert answers.place == str(path)
    assert path.stat().st_size > 0


def test_another_minuets_table_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        connection.execute("create table minuet_answers (id text, run text, opinion text)")
    connection.close()
    with pytest.raises(RequestError, match="was made by another minuet"):
        Answers(f"sqlite:///{tmp_path / 'a.sqlite'}", "run")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(LostError, match="file is not a database"):
        Answers(f"sqlite:///{tmp_path / 'a.sqlite'}", "run")
