"""Trackers by name: TensorBoard unasked, accelerate's when asked, one clear no for all others."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.trackers import check_trackers, open_trackers

PICTURE = np.zeros((4, 5, 3), np.uint8)


def test_without_a_name_tensorboard_is_told(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tracker,) = open_trackers([], "run", tmp_path)
    tracker.log({"loss/flow": 0.5}, 25)
    tracker.picture("samples", PICTURE, 25)
    events: Any = EventAccumulator(str(tmp_path / "tensorboard"))  # before it is closed: a kill
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss/flow")] == [(25, 0.5)]
    assert [one.step for one in events.Images("samples")] == [25]
    tracker.close()


def test_none_is_nobody(tmp_path: Path) -> None:
    assert open_trackers(["none"], "run", tmp_path) == [] and not list(tmp_path.iterdir())


def test_without_tensorboard_nobody_is_told_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minuet.trackers._installed", lambda name: False)
    assert open_trackers([], "run", tmp_path) == []


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    pytest.importorskip("accelerate")
    with pytest.raises(RequestError, match=r"no tracker is called 'waltz'; known: .*mlflow.*wandb"):
        check_trackers(["waltz"])


def test_one_that_is_not_installed_is_refused() -> None:
    pytest.importorskip("accelerate")
    if "aim" in sys.modules:
        pytest.skip("aim is installed")
    with pytest.raises(MissingBackendError, match="'aim' is not installed"):
        check_trackers(["aim"])


def test_without_accelerate_its_trackers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minuet.trackers._installed", lambda name: False)
    with pytest.raises(MissingBackendError, match=r"'wandb' needs accelerate: pip install"):
        check_trackers(["wandb"])


def test_a_tracker_that_accelerate_knows_is_told(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

    class Lines(GeneralTracker):  # type: ignore[misc]
        name, requires_logging_directory = "lines", True

        def __init__(self, run: str, logging_dir: str) -> None:
            super().__init__()
            self.path = Path(logging_dir) / f"{run}.jsonl"

        @property
        def tracker(self) -> Path:
            return self.path

        def log(self, values: dict[str, float], step: int | None = None, **_: Any) -> None:
            with self.path.open("a") as stream:
                stream.write(json.dumps({"step": step, **values}) + "\n")

    LOGGER_TYPE_TO_CLASS["lines"] = Lines
    try:
        (tracker,) = open_trackers(["lines"], "run", tmp_path)
    finally:
        del LOGGER_TYPE_TO_CLASS["lines"]
    tracker.log({"loss": 1.0}, 25)
    tracker.picture("samples", PICTURE, 25)
    tracker.close()
    assert (tmp_path / "run.jsonl").read_text() == '{"step": 25, "loss": 1.0}\n'
