"""A bundle whose one artifact doubles, with runtimes that behave and some that do not."""

from pathlib import Path

import numpy as np

from minuet.benchmarks.subject import Job
from minuet.contracts.artifact import Artifact, FileEntry, Manifest
from minuet.contracts.files import write_json
from minuet.contracts.tensors import Signature, TensorSpec

RUNTIME = """
import contextlib, os
import numpy as np
from minuet.contracts.errors import Refusal
from minuet.contracts.report import Operator

OPERATORS = (Operator(name="add", kind="Add", unit="cpu", p50_ms=1.5, macs=4.0),)

class Twice:
    name, targets = "twice", ("onnx",)
    def available(self): return None
    def version(self): return "twice 2.0"
    @contextlib.contextmanager
    def open(self, bundle, artifact, signature, *, threads=0):
        print("a backend's banner, on standard output")
        (bundle / "seen").write_text(f"{os.getpid()} {artifact.entry} {threads}")
        yield Session()

class Watching(Twice):
    def stages(self, bundle, artifact, signature, inputs, *, runs, threads=0):
        from minuet.contracts.stages import StageTimes
        (bundle / "watched").write_text(f"{os.getpid()} {threads} {inputs['x'].sum()}")
        return StageTimes(
            stages_ms={"text": (1.5,) * runs}, total_ms=(2.0,) * runs, operators=OPERATORS
        )

class Untimed(Twice):
    def stages(self, *args, **kwargs):
        from minuet.contracts.stages import StageTimes
        return StageTimes(stages_ms={}, total_ms=(), operators=OPERATORS, untimed="it has no clock")

class Session:
    def run(self, inputs): return {"y": inputs["x"] * 2}

class Refusing(Twice):
    def available(self): return Refusal("twice needs a device that is not here")

class Slow(Twice):
    @contextlib.contextmanager
    def open(self, *args, **kwargs): yield Sleeper()

class Sleeper:
    def run(self, inputs):
        import time
        time.sleep(60)

class Dying(Twice):
    def open(self, *args, **kwargs): os._exit(7)

class Raising(Twice):
    def open(self, *args, **kwargs): raise ZeroDivisionError("inside the backend")
"""


def twice_bundle(root: Path) -> Path:
    """The bundle; its runtimes are a module of root, which has to be on the path."""
    (root / "twice_runtime.py").write_text(RUNTIME)
    file = FileEntry(path="onnx-fp32/model.onnx", bytes=3, sha256="0" * 64)
    spec = TensorSpec(name="x", axes="N", shape=(4,), dtype="float32")
    manifest = Manifest(
        name="twice",
        family="test",
        programs={"main": Signature(inputs=(spec,), outputs=(spec,))},
        sampler={},
        artifacts=(
            Artifact(target="onnx", precision="fp32", entry=file.path, files=(file,), requires={}),
        ),
        files=(),
        minuet="0",
        source_sha256="",
    )
    folder = root / "bundle"
    (folder / file.path).parent.mkdir(parents=True)
    (folder / file.path).write_bytes(b"abc")
    write_json(folder / "manifest.json", manifest.to_json())
    return folder


def twice_job(bundle: Path, name: str = "Twice", artifact: str = "onnx-fp32") -> Job:
    inputs = {"x": np.arange(4, dtype=np.float32)}
    where = f"twice_runtime:{name}"
    return Job(runtime=where, bundle=bundle, artifact=artifact, inputs=inputs, threads=3)
