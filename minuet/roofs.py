"""A bundle -> where its operators run here, and how near they come to what this machine can do.

python -m minuet.roofs BUNDLE [--runtimes ort,openvino] [--runs 20] [--threads 2] [--off PATTERN]

`minuet bench --peaks` writes the same into its report; `python -m minuet.benchmarks.roofline`
prints that.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minuet.benchmarks import placement, roofline
from minuet.benchmarks.peaks import measure_peaks
from minuet.contracts.artifact import Artifact, Manifest
from minuet.contracts.errors import MinuetError
from minuet.contracts.report import Run
from minuet.contracts.stages import OTHER
from minuet.contracts.tensors import Arrays


def watched(
    bundle: Path,
    manifest: Manifest,
    artifact: Artifact,
    name: str,
    inputs: Arrays,
    *,
    runs: int,
    threads: int,
) -> Run:
    """One artifact, opened by one runtime under its profiler; nothing but operators is measured."""
    from minuet.runtimes.table import runtime

    found = runtime(name)
    run = Run(
        artifact=artifact.name,
        artifact_sha256="",
        runtime=name,
        runtime_version="",
        threads=threads,
        samples_ms={},
        peak_rss_mib=None,
        bytes_on_disk=0,
        steps=0,
        nfe=0,
        macs=None,
    )
    watch: Any = getattr(found, "stages", None)
    if refusal := found.available():
        return replace(run, unplaced=str(refusal))
    if watch is None:
        return replace(run, unplaced=f"{name} does not name its operators")
    try:
        told = watch(bundle, artifact, manifest.signature, inputs, runs=runs, threads=threads)
    except MinuetError as error:
        return replace(run, unplaced=str(error))
    samples = {"watched": told.total_ms}
    return replace(run, operators=told.operators, samples_ms=samples, unwatched=told.untimed)


def matched(run: Run) -> str:
    """How much of a watched run the tables explain."""
    whole = sum(one.p50_ms for one in run.operators)
    if not whole:
        return run.unwatched
    total = statistics.median(run.samples_ms["watched"])
    staged = sum(one.p50_ms for one in run.operators if one.stage not in ("", OTHER))
    worked = sum(one.p50_ms for one in run.operators if one.macs is not None)
    return (
        f"{whole:.3f} ms in {len(run.operators)} operators, {whole / total:.1%} of the run; "
        f"of that {staged / whole:.1%} is of a known stage and {worked / whole:.1%} of known work"
    )


def main(arguments: Sequence[str]) -> int:
    """Print every artifact on every runtime asked for."""
    from minuet.export.bundle import load_bundle
    from minuet.measuring import example
    from minuet.runtimes.table import runtime

    asked = parsed(arguments)
    try:
        manifest = load_bundle(asked.bundle)
        inputs = example(asked.bundle, manifest, 0)
        peaks = measure_peaks(asked.threads, asked.seconds)
        for name in asked.runtimes.split(","):
            targets = runtime(name).targets
            for artifact in manifest.artifacts:
                if artifact.target in targets:
                    how = {"runs": asked.runs, "threads": asked.threads}
                    run = watched(asked.bundle, manifest, artifact, name, inputs, **how)
                    print(f"\n{run.artifact} on {run.runtime}\n{matched(run)}")
                    print(*placement.lines(run, asked.off), *roofline.lines(run, peaks), sep="\n")
    except MinuetError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m minuet.roofs")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runtimes", default="ort,openvino,openvino-bf16,executorch")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--seconds", type=float, default=10.0, help="for the machine's peaks")
    parser.add_argument("--off", default="", help="the units that were meant; else the busiest")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
