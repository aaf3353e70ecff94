"""Networks of real size with random weights -> what their export to each target takes.

python scripts/real_sizes.py [sd15-unet wan-1.3b] [--targets onnx,coreml] [-o real_sizes.json]

Each export runs in a process of its own. The configurations are the published ones; the weights
are drawn, so this says nothing about pictures. "times" is peak memory over the size of the
weights in float32, libraries and all. What OUT has already is not measured again.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.files import read_json, write_json
from minuet.export.table import EXPORTERS, exporter

MIB = 1 << 20
Rows = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A network as it was published, and one example of its inputs: name -> shape."""

    kind: str  # a class of diffusers
    config: dict[str, Any]
    inputs: dict[str, tuple[int, ...]]


SIZES = {
    # huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5, unet/config.json
    "sd15-unet": Size(
        kind="UNet2DConditionModel",
        config={
            "sample_size": 64,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": (320, 640, 1280, 1280),
            "layers_per_block": 2,
            "cross_attention_dim": 768,
            "attention_head_dim": 8,
            "norm_num_groups": 32,
        },
        inputs={
            "sample": (2, 4, 64, 64),
            "timestep": (1,),
            "encoder_hidden_states": (2, 77, 768),
        },
    ),
    # huggingface.co/Wan-AI/Wan2.1-T2V-1.3B-Diffusers, transformer/config.json
    "wan-1.3b": Size(
        kind="WanTransformer3DModel",
        config={
            "patch_size": (1, 2, 2),
            "num_attention_heads": 12,
            "attention_head_dim": 128,
            "in_channels": 16,
            "out_channels": 16,
            "text_dim": 4096,
            "freq_dim": 256,
            "ffn_dim": 8960,
            "num_layers": 30,
            "cross_attn_norm": True,
            "qk_norm": "rms_norm_across_heads",
            "rope_max_seq_len": 1024,
        },
        inputs={
            "hidden_states": (1, 16, 5, 32, 32),
            "timestep": (1,),
            "encoder_hidden_states": (1, 512, 4096),
        },
    ),
}


def main() -> None:
    """One process an export, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(SIZES))
    parser.add_argument("--targets", default=",".join(EXPORTERS))
    parser.add_argument("-o", "--out", type=Path, default=Path("real_sizes.json"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(SIZES[args.names[0]], args.targets)))
        return
    rows: Rows = read_json(args.out) if args.out.exists() else {}
    for name in args.names or SIZES:
        for target in args.targets.split(","):
            key = f"{name} to {target}"
            if key not in rows:
                rows[key] = fresh(name, target)
                write_json(args.out, rows)
    print(table(rows))


def fresh(name: str, target: str) -> dict[str, float]:
    """The measurement of one export in a process that has done nothing else."""
    command = [sys.executable, "-W", "ignore", __file__, "--child", name, "--targets", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} to {target}: {done.returncode} {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(size: Size, target: str) -> dict[str, float]:
    """Build, capture, write; seconds of each and what memory it took at most."""
    import torch

    from minuet.contracts.tensors import Signature
    from minuet.export.capture import capture
    from minuet.export.sources.part import arrays_of, specs_of

    module, seconds = _timed(lambda: drawn(size))
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    examples = [torch.randn(shape) for shape in size.inputs.values()]
    inputs = specs_of(size.inputs, examples, "")
    outputs = specs_of(["out"], [examples[0]], "")
    signature = Signature(inputs=tuple(inputs), outputs=tuple(outputs))
    rows = {"weights_MiB": weights / MIB, "built_s": seconds, "before_MiB": peak_mib()}
    wrapped, given = first_output(module, list(size.inputs)), arrays_of(inputs, examples)
    program, rows["capture_s"] = _timed(lambda: capture(wrapped, given, signature))
    export, precision = exporter(target), EXPORTERS[target].precisions[0]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        artifact, rows["export_s"] = _timed(lambda: export(program, Path(folder), precision))
        rows["files_MiB"] = artifact.size / MIB
    rows["peak_MiB"] = peak_mib()
    rows["times"] = rows["peak_MiB"] / rows["weights_MiB"]
    return {name: round(value, 2) for name, value in rows.items()}


def drawn(size: Size) -> Any:
    """The network, its weights drawn once: the usual start would draw each several times."""
    import diffusers
    import torch

    with torch.device("meta"):
        module = getattr(diffusers, size.kind)(**size.config)
    module = module.to_empty(device="cpu").eval().requires_grad_(False)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.uniform_(-0.02, 0.02)
    return module


def first_output(module: Any, names: list[str]) -> Any:
    """The network as a module that takes tensors in order and gives a tuple of one."""
    from torch import Tensor, nn

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *given: Tensor) -> tuple[Tensor]:
            named = dict(zip(names, given, strict=True))
            return (self.module(**named, return_dict=False)[0],)

    return First()


def peak_mib() -> float:
    """The most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(rows: Rows) -> str:
    """Markdown."""
    names = list(next(iter(rows.values())))
    lines = [f"| network and target | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {n} | {' | '.join(f'{v:g}' for v in row.values())} |" for n, row in rows.items()]
    return "\n".join(lines)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


if __name__ == "__main__":
    main()
