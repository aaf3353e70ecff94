import gc
import itertools
from pathlib import Path

import numpy as np
import pytest

from minuet.benchmarks.memory import Memory
from minuet.benchmarks.subject import GoneError, Here, timed
from minuet.contracts.errors import RequestError
from tests.benchmarks.twice import twice_bundle, twice_job


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return twice_bundle(tmp_path)


def test_an_artifact_that_is_not_held_is_answered_with_those_that_are(bundle: Path) -> None:
    with pytest.raises(RequestError, match="holds no coreml-fp16; it holds onnx-fp32"):
        twice_job(bundle, artifact="coreml-fp16").resolve()


def test_a_runtime_that_cannot_be_loaded_is_named(bundle: Path) -> None:
    with pytest.raises(RequestError, match="twice_runtime:Thrice cannot be loaded"):
        twice_job(bundle, "Thrice").resolve()


def test_it_opens_runs_tells_and_closes(bundle: Path, tmp_path: Path) -> None:
    here = Here(job=twice_job(bundle))
    opened = here.open()
    assert opened.version == "twice 2.0" and opened.load_ms > 0 and opened.first_ms > 0
    assert 0 < opened.shortest_ms < 1
    assert len(here.sample(2)["total"]) == 2
    here.save(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs["y"].tolist() == [0, 2, 4, 6]
    held, weighed = here.close(), Here(job=twice_job(bundle)).close(weigh=True)
    assert held.peak_rss_mib and weighed == Memory(), "what was not open is not weighed"
    with pytest.raises(GoneError, match="not open"):
        here.sample(1)


def test_a_refusal_is_told(bundle: Path) -> None:
    with pytest.raises(GoneError, match="twice needs a device that is not here"):
        Here(job=twice_job(bundle, "Refusing")).open()


def test_what_a_profiler_told_is_told_whole(bundle: Path) -> None:
    told = Here(job=twice_job(bundle, "Watching")).stages(3)
    assert told.block == {"stage.text": [1.5] * 3, "watched": [2.0] * 3}
    assert [one.name for one in told.operators] == ["add"] and not told.untimed
    untimed = Here(job=twice_job(bundle, "Untimed")).stages(3)
    assert untimed.block == {} and untimed.untimed == "it has no clock"


def test_a_sample_is_the_mean_of_its_batch() -> None:
    calls: list[int] = []
    ticks = itertools.count(0, 6_000_000)
    found = timed(lambda inputs: calls.append(1), {}, 3, 4, ticks.__next__)
    assert found == [1.5] * 3 and len(calls) == 12


def test_no_garbage_is_collected_inside_a_sample_and_it_is_afterwards() -> None:
    seen: list[bool] = []
    timed(lambda inputs: seen.append(gc.isenabled()), {}, 2)
    assert seen == [False, False] and gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        timed(lambda inputs: 1 // 0, {}, 1)
    assert gc.isenabled()
