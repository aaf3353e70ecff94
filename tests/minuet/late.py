"""One process of a whole recipe, of which all but the main one come late to every stage."""

import sys
import time
from pathlib import Path
from typing import Any

import torch

from minuet.contracts.recipe import Recipe, recipe_from
from minuet.pipeline import Pipeline
from tests.minuet.test_pipeline import TINY, easy_judge

LATE_SECONDS = 0.5


def small() -> Recipe:
    """Its batches are cut into two wherever a recipe can say so."""
    whole: dict[str, Any] = TINY
    stages = {name: whole[name] | {"shares": 2} for name in ("base", "student")}
    teachers = {name: one | {"shares": 2} for name, one in whole["teachers"].items()}
    return recipe_from(whole | stages | {"teachers": teachers}, "small")


def main() -> None:
    """Run it in the folder that the command line names."""
    torch.set_num_threads(1)
    seen: set[str] = set()
    run: Any = None

    def tell(stage: str, done: int, total: int, note: str) -> None:
        if stage not in seen and run is not None and run.fleet.rank:
            time.sleep(LATE_SECONDS)
        seen.add(stage)

    run = Pipeline(small(), Path(sys.argv[1]), easy_judge, tell)
    if run.fleet.rank:
        time.sleep(4 * LATE_SECONDS)
    run.run()


if __name__ == "__main__":
    main()
