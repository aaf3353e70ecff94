"""The table of schemes: what becomes of weights and activations, for whom, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minuet.contracts.errors import RequestError

SMALLER, FASTER = "smaller", "faster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One row; its name is the precision of its artifacts, too."""

    weights: str
    activations: str
    targets: dict[str, str]  # target -> what it is good for there
    promises: tuple[str, ...]  # what it must be beside its float parent to be worth its loss
    calibrated: bool = False  # whether activations need ranges
    floor_db: float = 30.0  # PSNR from the float student that is asked of it, unless told otherwise


SCHEMES = {
    "int8": Scheme(
        weights="int8, one scale an output channel",
        activations="int8 by calibrated ranges; where that costs too much, float",
        targets={
            "onnx": "x86 with VNNI, ARM with dot products",
            "executorch": "XNNPACK on ARM and x86",
            "coreml": "Neural Engine of A17, M4 and later (iOS 17)",
            "tensorrt": "tensor cores; no zero points",
        },
        promises=(SMALLER, FASTER),
        calibrated=True,
        floor_db=35.0,
    ),
    "int8-weights": Scheme(
        weights="int8, one scale an output channel",
        activations="float",
        targets={
            "onnx": "downloads; computes as fast as float",
            "coreml": "downloads, memory; computes in float16",
        },
        promises=(SMALLER,),
    ),
    "int4-weights": Scheme(
        weights="int4, one scale for 32 input channels or so",
        activations="float",
        targets={
            "onnx": "downloads of large networks; small ones lose too much",
            "coreml": "downloads, memory (iOS 18)",
        },
        promises=(SMALLER,),
    ),
    "int8-dynamic": Scheme(
        weights="int8, one scale an output channel; linear layers only",
        activations="int8 by the range of each tensor as it comes",
        # Not executorch: 1.4 computes it right in small networks, and the shipped student 6 dB from
        # float in its delegate, where the same program is 27 dB from it in torch.
        targets={"onnx": "transformers on a CPU; convolutions stay float"},
        promises=(SMALLER, FASTER),
    ),
    "w8a16": Scheme(
        weights="int8, one scale an output channel",
        activations="uint16 by calibrated ranges",
        targets={"onnx": "Hexagon by the QNN provider; a CPU has no kernels for it"},
        promises=(SMALLER,),
        calibrated=True,
    ),
    "fp8": Scheme(
        weights="float8 e4m3, one scale an output channel",
        activations="float8 e4m3 by calibrated ranges",
        targets={"tensorrt": "tensor cores from Ada on (SM89)"},
        promises=(SMALLER, FASTER),
        calibrated=True,
    ),
    "palettes": Scheme(
        weights="each layer a palette of 2 to 8 bits, shared out where the clips need them most",
        activations="float16",
        targets={"coreml": "downloads, memory; the Neural Engine reads codes (iOS 16)"},
        promises=(SMALLER,),
    ),
    "palettes-int8": Scheme(
        weights="palettes of int8 colours, one scale a layer",
        # Not int8: those come with weights of one scale a channel, and palettes have one a layer.
        activations="float16",
        targets={"coreml": "downloads, memory (iOS 18); tables of half the bytes"},
        promises=(SMALLER,),
    ),
}


def check_scheme(name: str, targets: Sequence[str] = ()) -> None:
    """Refuse a scheme that is not in the table, or not for these targets.

    Raises:
        RequestError: says what there is.
    """
    if name not in SCHEMES:
        raise RequestError(f"the scheme {name!r} is not known; choose from {', '.join(SCHEMES)}.")
    row = SCHEMES[name]
    if refused := [target for target in targets if target not in row.targets]:
        raise RequestError(
            f"{name} is not made for {', '.join(refused)}; it is for {', '.join(row.targets)}."
        )
