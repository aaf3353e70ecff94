"""A run with candidates, as the teachers leave it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from minuet.curation.candidates import Candidates, write_candidates
from tests.minuet.curation.made import verdicts
from tests.minuet.curation.postgres import BIN, Postgres, postgres


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A distillation run's folder with six requests and three teachers."""
    write_candidates(tmp_path / "run" / "candidates", verdicts(), seed=3)
    return tmp_path / "run"


@pytest.fixture
def candidates(run: Path) -> Candidates:
    return Candidates(run / "candidates")


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A real PostgreSQL."""
    if BIN is None:
        pytest.skip("not run: PostgreSQL's initdb and postgres are not installed")
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'answers.sqlite'}"
    running: Postgres = request.getfixturevalue("server")
    return running.address
