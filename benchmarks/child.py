"""A job on the command line, requests on stdin -> answers on stdout, one JSON line each.

A job to watch is answered once, with the stages' times.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from minuet.benchmarks.subject import Here, Job, answer, expected
from minuet.contracts.files import read_json


def serve(job: Path, requests: TextIO, answers: TextIO) -> None:
    """Open the job, then answer until asked to close or until nobody asks any more."""

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    words = read_json(job)
    subject = Here(job=job_of(words, job.with_name("inputs.npz")))
    try:
        if words["watch"]:
            return say({"block": subject.stages(words["watch"])})
        opened = subject.open()
        say({"load_ms": opened.load_ms, "first_ms": opened.first_ms, "version": opened.version})
        for line in requests:
            request = json.loads(line)
            say(answer(subject, request))
            if request["do"] == "close":
                return
    except Exception as error:  # whatever a backend throws is a result here, not a crash
        say({"gone": expected(error)})


def job_of(words: Mapping[str, Any], stored: Path) -> Job:
    """A job as its parent wrote it, with the inputs that lie beside it."""
    with np.load(stored, allow_pickle=False) as rows:
        inputs = {name: rows[name] for name in rows.files}
    return Job(
        runtime=words["runtime"],
        bundle=Path(words["bundle"]),
        artifact=words["artifact"],
        inputs=inputs,
        threads=words["threads"],
    )


def main() -> None:
    """Keep stdout for answers: backends print there whenever they like."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        serve(Path(sys.argv[1]), sys.stdin, answers)


if __name__ == "__main__":
    main()
