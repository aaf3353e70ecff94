"""Reports and pictures of a training -> TensorBoard, or any tracker that accelerate knows by name.

The JSON lines in the run's folder are always written (`distill/log.py`) and say which steps were
told: a run that goes on after a kill tells no tracker a step twice.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from minuet.contracts.errors import MissingBackendError, RequestError

TENSORBOARD, NONE = "tensorboard", "none"


class Tracker(Protocol):
    """Who keeps what is told of a training."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a step, by name."""
        ...

    def picture(self, name: str, pixels_HWC: NDArray[np.uint8], step: int) -> None:
        """A picture of a step."""
        ...

    def close(self) -> None:
        """Everything is told."""
        ...


class TensorBoard:
    """Event files in a folder, flushed at each step: a kill loses none."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A curve a name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, name: str, pixels_HWC: NDArray[np.uint8], step: int) -> None:
        """Under its name, with a slider over steps."""
        self._writer.add_image(name, pixels_HWC, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()


class Accelerated:
    """A tracker of accelerate's: wandb, mlflow, comet_ml, or one that was registered there."""

    def __init__(self, name: str, run: str, folder: Path) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        kind: Any = LOGGER_TYPE_TO_CLASS[name]
        place = {"logging_dir": str(folder)} if kind.requires_logging_directory else {}
        self._tracker = kind(run, **place)
        self._tracker.start()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """By the tracker's own names."""
        self._tracker.log(dict(values), step=step)

    def picture(self, name: str, pixels_HWC: NDArray[np.uint8], step: int) -> None:
        """Where the tracker takes pictures; the file in the run's folder is there in any case."""
        if hasattr(self._tracker, "log_images"):
            self._tracker.log_images({name: [pixels_HWC]}, step=step)

    def close(self) -> None:
        """Let it send what is left."""
        self._tracker.finish()


def check_trackers(names: Sequence[str]) -> None:
    """Refuse a name that is none, and a tracker that is not installed, before anything runs.

    Raises:
        RequestError: no tracker has this name.
        MissingBackendError: it, or accelerate, which knows it, is not installed.
    """
    for name in names:
        if name == NONE or (name == TENSORBOARD and _installed(TENSORBOARD)):
            continue
        if not _installed("accelerate"):
            raise MissingBackendError(
                f"the tracker {name!r} needs {name if name == TENSORBOARD else 'accelerate'}: "
                "pip install 'minuet[distill]'."
            )
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

        if name not in LOGGER_TYPE_TO_CLASS:
            known = sorted({*map(str, LOGGER_TYPE_TO_CLASS), NONE})
            raise RequestError(f"no tracker is called {name!r}; known: {', '.join(known)}.")
        theirs = LOGGER_TYPE_TO_CLASS[name].__module__.startswith("accelerate.")
        if theirs and name not in {str(one) for one in get_available_trackers()}:
            raise MissingBackendError(
                f"the tracker {name!r} is not installed; install it as its own pages say."
            )


def open_trackers(names: Sequence[str], run: str, folder: Path) -> list[Tracker]:
    """The named trackers for one training; without a name TensorBoard, where it is installed."""
    asked = names or ([TENSORBOARD] if _installed(TENSORBOARD) else [])
    check_trackers(asked)
    found: list[Tracker] = []
    for name in dict.fromkeys(asked):
        if name == TENSORBOARD:
            found.append(TensorBoard(folder / TENSORBOARD))
        elif name != NONE:
            found.append(Accelerated(name, run, folder))
    return found


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
