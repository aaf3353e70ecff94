"""A training's reports -> its trackers, and now and then a sheet of what its average makes."""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minuet.distill.loop import Draw, Objective, Progress, Trainer
from minuet.models.student import Sampler
from minuet.sheets import Sheets
from minuet.trackers import Tracker, open_trackers


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How a training is watched."""

    trackers: tuple[str, ...] = ()  # none named: TensorBoard, where it is installed
    sheet_minutes: float = 10.0  # between two sheets; 0: none are made

    def run(
        self,
        trainer: Trainer,
        objective: Objective,
        draw: Draw,
        sampler: Sampler,
        report: Callable[[Progress], None],
        tick: Callable[[int], None],
    ) -> None:
        """Every step that is left of a training, watched."""
        main = trainer.on.rank == 0
        with self._open(trainer.folder) if main else _nobody() as trackers:

            def told(progress: Progress) -> None:
                report(progress)
                values = {f"loss/{name}": value for name, value in progress.losses.items()}
                values["clips_per_second"] = progress.clips_per_second
                for tracker in trackers:
                    tracker.log(values, progress.step)

            sheets = Sheets(trainer.folder / "samples", sampler, trackers)
            seconds = 60 * self.sheet_minutes or math.inf
            trainer.run(objective, draw, told, tick, sheets, seconds)

    @contextmanager
    def _open(self, folder: Path) -> Generator[list[Tracker]]:
        found = open_trackers(self.trackers, folder.name, folder)
        try:
            yield found
        finally:
            for tracker in found:
                tracker.close()


@contextmanager
def _nobody() -> Generator[list[Tracker]]:
    yield []
