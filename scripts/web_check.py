"""A bundle's ONNX file in a browser -> whether it is still the same model there.

python scripts/web_check.py BUNDLE --ort-web node_modules/onnxruntime-web/dist [--threads 2]

Get the library with `npm install onnxruntime-web@1.30.0`. A headless Chromium loads one page from
a server of its own, runs the first golden case on WebAssembly and sends back what it made of it.
Exit code 0: the same; 1: not the same; 4: no browser or no library, so not run.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from minuet.benchmarks.parity import difference, judge, worst_of
from minuet.contracts.artifact import Parity
from minuet.contracts.errors import MinuetError, MissingBackendError
from minuet.contracts.files import contained
from minuet.contracts.tensors import Signature
from minuet.export.bundle import Golden, load_bundle, read_golden

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGE = """<!doctype html><script type="module">
import * as ort from '/dist/ort.wasm.min.mjs';
const arrays = {float32: Float32Array, int32: Int32Array, uint8: Uint8Array, int64: BigInt64Array,
  float16: Uint16Array, bool: Uint8Array, int8: Int8Array};
const send = (where, body) => fetch(where, {method: 'POST', body});
try {
  const asked = await (await fetch('/case')).json();
  ort.env.wasm.wasmPaths = '/dist/';
  ort.env.wasm.numThreads = asked.threads;
  const session = await ort.InferenceSession.create('/model/' + asked.model);
  const feeds = {};
  for (const {name, dtype, shape} of asked.inputs) {
    const bytes = await (await fetch('/input/' + name)).arrayBuffer();
    feeds[name] = new ort.Tensor(dtype, new arrays[dtype](bytes), shape);
  }
  const made = await session.run(feeds);
  for (const name of Object.keys(made)) await send('/output/' + name, made[name].data);
  await send('/done', '');
} catch (error) { await send('/failed', String(error)); }
</script>"""


class Stage:
    """What the page is given, and what it gave back."""

    def __init__(self, model: Path, dist: Path, case: Golden, signature: Signature, threads: int):
        self.folders = {"dist": dist, "model": model.parent}
        self.inputs = {name: np.ascontiguousarray(value) for name, value in case.inputs.items()}
        specs = [{"name": s.name, "dtype": s.dtype, "shape": s.shape} for s in signature.inputs]
        self.case = {"model": model.name, "threads": threads, "inputs": specs}
        self.outputs: dict[str, bytes] = {}
        self.over = threading.Event()
        self.failure = ""

    def read(self, path: str) -> bytes:
        """What lies at a path of the page's server."""
        kind, _, name = path.lstrip("/").partition("?")[0].partition("/")
        if kind == "input":
            return self.inputs[name].tobytes()
        if kind in self.folders:
            return contained(self.folders[kind], name).read_bytes()
        return {"": PAGE.encode(), "case": json.dumps(self.case).encode()}[kind]

    def take(self, path: str, body: bytes) -> None:
        """What the page sends."""
        kind, _, name = path.lstrip("/").partition("/")
        if kind == "output":
            self.outputs[name] = body
            return
        self.failure = body.decode(errors="replace") if kind == "failed" else ""
        self.over.set()


def main() -> int:
    """Run one bundle, say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--ort-web", type=Path, default=Path("node_modules/onnxruntime-web/dist"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    try:
        parity = check(args.bundle, args.ort_web, args.threads)
    except MissingBackendError as error:
        print(f"not run: {error}")
        return error.exit_code
    print(f"{parity.verdict}: {parity.backend}, {parity.value} dB of {parity.tolerance} needed")
    return 0 if parity.verdict == "pass" else 1


def check(bundle: Path, dist: Path, threads: int = 1) -> Parity:
    """The verdict on a bundle's first ONNX file, from its first golden case.

    Raises:
        MissingBackendError: no browser, no library, or the page did not get to the end.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None or not (dist / "ort.wasm.min.mjs").is_file():
        what = "no Chromium is installed" if browser is None else f"{dist} has no onnxruntime-web"
        raise MissingBackendError(f"{what}.")
    manifest = load_bundle(bundle)
    artifact = next(row for row in manifest.artifacts if row.target == "onnx")
    signature = manifest.programs[artifact.component]
    case = read_golden(bundle, manifest, artifact.component)[0]
    stage = Stage(contained(bundle, artifact.entry), dist, case, signature, threads)
    _play(stage, browser)
    found = {
        spec.name: np.frombuffer(stage.outputs[spec.name], spec.dtype).reshape(spec.shape)
        for spec in signature.outputs
    }
    worst = worst_of([difference(case.outputs[name], value) for name, value in found.items()])
    return judge(artifact, "ort-web", "onnxruntime-web, WebAssembly", worst)


def _play(stage: Stage, browser: str, seconds: float = 300) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(stage)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")
            page = f"http://127.0.0.1:{server.server_port}/"
            command = [browser, *flags, f"--user-data-dir={profile}", page]
            quiet = subprocess.DEVNULL
            with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
                ended = stage.over.wait(seconds)
                process.terminate()
        server.shutdown()
    if not ended or stage.failure:
        raise MissingBackendError(stage.failure or f"the page gave no answer in {seconds:g} s.")


def _handler(stage: Stage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                body = stage.read(self.path)
            except (KeyError, OSError, MinuetError):
                self.send_error(404)
                return
            kinds = {"/": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}
            kind = kinds.get(self.path if self.path == "/" else Path(self.path).suffix)
            self._answer(body, kind or "application/octet-stream")

        def do_POST(self) -> None:
            stage.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(b"", "text/plain")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            # Without these two a page gets no threads.
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Be silent."""

    return Handler


if __name__ == "__main__":
    sys.exit(main())
