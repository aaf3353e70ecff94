"""A job on the command line, requests on stdin -> answers on stdout, one JSON line each.

A job to watch is answered once, with the stages' times.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from minuet.benchmarks.subject import Here, Job, expected
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
            return say(asdict(subject.stages(words["watch"])))
        say(asdict(subject.open()))
        for line in requests:
            request = json.loads(line)
            say(answer(subject, request))
            if request["do"] == "close":
                return
    except Exception as error:  # whatever a backend throws is a result here, not a crash
        say({"gone": expected(error)})


def answer(subject: Here, request: Mapping[str, Any]) -> dict[str, Any]:
    """One request's answer."""
    match request["do"]:
        case "sample":
            count, batch = int(request["count"]), int(request.get("batch", 1))
            return {"block": subject.sample(count, batch)}
        case "save":
            subject.save(Path(request["path"]))
            return {}
        case "close":
            return asdict(subject.close(weigh=bool(request.get("weigh"))))
        case other:
            return {"gone": f"{other!r} is not understood"}


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
