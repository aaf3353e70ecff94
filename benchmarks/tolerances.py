"""Target, precision and depth -> how far an artifact may be from the oracle, and why.

Nothing here is wished for: FLOORS is what `python -m minuet.benchmarks.noise_floor` measured, and
a tolerance is a floor less a margin. A program that is noisier than the networks measured there may
be judged by its own noise, never below LEAST_DB in float32, nor EASED_DB below the table in less.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from minuet.contracts.errors import RequestError

PSNR, SNR = "psnr", "snr"  # of frames; of anything else
DEPTHS = (8, 32, 128)  # contractions one after another: a codec, a small denoiser, several steps

# Against float64 in eager networks of those depths, the worst of 4 seeds and 2 kinds of network,
# in dB. Measured with torch 2.13.0.
FLOORS = {
    ("fp32", SNR): (111.0, 107.8, 107.5),
    ("fp32", PSNR): (85.1, 85.5, 81.2),
    ("tf32", SNR): (66.6, 64.5, 62.7),
    ("tf32", PSNR): (66.7, 60.7, 57.0),
    ("fp16", SNR): (63.0, 59.0, 54.6),
    ("fp16", PSNR): (61.4, 59.8, 54.5),
    ("bf16", SNR): (45.2, 41.2, 36.4),
    ("bf16", PSNR): (49.8, 43.7, 35.7),
    ("int8", SNR): (34.1, 32.9, 32.1),
    ("int8", PSNR): (42.3, 38.9, 36.2),
    ("w8a16", SNR): (43.9, 41.4, 38.2),
    ("w8a16", PSNR): (49.2, 42.4, 43.4),
    ("fp8", SNR): (24.4, 22.1, 20.3),
    ("fp8", PSNR): (31.0, 25.7, 18.1),
    ("palette", SNR): (31.2, 29.4, 24.3),
    ("palette", PSNR): (37.3, 31.9, 24.0),
    ("int8-weights", SNR): (43.9, 40.7, 38.9),
    ("int8-weights", PSNR): (49.3, 43.0, 39.4),
    ("int4-weights", SNR): (19.6, 16.4, 11.7),
    ("int4-weights", PSNR): (26.4, 22.8, 15.5),
    ("int8-dynamic", SNR): (50.7, 42.7, 40.1),
    ("int8-dynamic", PSNR): (51.6, 45.9, 41.5),
}

# What a backend may add to the eager program's own noise, in dB. Its sums come in another order
# and its steps are fused otherwise: noise of the same size once more, uncorrelated, is 3 dB, and
# correlated 6.
MARGIN_DB = 6.0
# Ranges of int8 come from calibration clips; the floor's come from the case itself. A range that
# is 1.4 times as wide has steps 1.4 times as large.
MARGINS_DB = {"int8": MARGIN_DB + 3.0}

# Below this nothing is float32, whatever its own noise. A number is rounded by 2^-24 at most, which
# is 144.5 dB; a sampler that scales by sigma and subtracts again loses 20 log10(sigma), and the
# largest sigma of any pipeline known is 700 (Stable Video Diffusion): 56.9 dB. Noise of 87.6 dB
# below a peak of 1 moves one byte in 120 to its neighbour, and that is 68.8 dB of PSNR.
LEAST_DB = {SNR: 87.6, PSNR: 68.8}
# In fewer bits noise may as well be an overflow, so a program's own word is worth little: twice the
# noise of the networks that were measured. (Tiny text encoders are 2.7 dB noisier.)
EASED_DB = 6.0
NARROW = ("fp16", "bf16")

REASONS = {
    "fp32": "same arithmetic, another order of sums, and phases of hundreds inside sinusoids",
    "tf32": "TF32 contractions: 10 bits of mantissa in every factor",
    "fp16": "10 bits of mantissa through the network; where samples are placed stays float32",
    "bf16": "7 bits of mantissa through the network; where samples are placed stays float32",
    "int8": "8-bit weights and activations: rounding flips propagate from step to step",
    "w8a16": "8-bit weights; activations of 16 bits add nothing that is seen beside them",
    "fp8": "3 bits of mantissa in every factor, whatever its range",
    "palette": "weights of a few bits, no worse in sum than six even bits for every one of them",
    "int8-weights": "8-bit weights, one scale a channel, in float arithmetic, as coarse as float16",
    "int4-weights": "4-bit weights, one scale a group, in float arithmetic, as coarse as float16",
    "int8-dynamic": "8-bit weights and inputs of linear layers; the rest in float",
}

# What a file in a precision is computed in.
ARITHMETIC = {
    ("onnx", "fp32"): "fp32",
    ("onnx", "fp16"): "fp16",
    ("onnx", "bf16"): "bf16",
    ("onnx", "int8"): "int8",
    ("onnx", "int8-weights"): "int8-weights",
    ("onnx", "int4-weights"): "int4-weights",
    ("onnx", "int8-dynamic"): "int8-dynamic",
    ("onnx", "w8a16"): "w8a16",
    ("executorch", "fp32"): "fp32",
    ("executorch", "fp16"): "fp16",
    ("executorch", "int8"): "int8",
    ("executorch", "int8-dynamic"): "int8-dynamic",
    ("coreml", "fp32"): "fp32",
    ("coreml", "fp16"): "fp16",
    ("coreml", "int8"): "int8",
    ("coreml", "palettes"): "palette",
    ("coreml", "palettes-int8"): "palette",
    ("coreml", "int8-weights"): "int8-weights",
    ("coreml", "int4-weights"): "int4-weights",
    ("tensorrt", "fp32"): "tf32",
    ("tensorrt", "fp16"): "fp16",
    ("tensorrt", "bf16"): "bf16",
    ("tensorrt", "int8"): "int8",
    ("tensorrt", "fp8"): "fp8",
}

# Where a runtime computes in less than the file says, on purpose.
BY_RUNTIME = {
    ("onnx", "fp32", "openvino-bf16"): "bf16",
    ("onnx", "fp16", "openvino-bf16"): "bf16",
}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The least dB, and the reason for it."""

    db: float
    reason: str
    arithmetic: str


def tolerance(
    target: str,
    precision: str,
    runtime: str = "",
    metric: str = PSNR,
    depth: int | None = None,
    *,
    own_db: float | None = None,
    recorded_db: float | None = None,
) -> Tolerance:
    """What is asked of a target in a precision, or of the runtime's own arithmetic.

    Args:
        depth: contractions one after another; without it, as many as were ever measured.
        own_db: how far the program itself is from float64 in that arithmetic.
        recorded_db: what was asked when the program was at hand, as a manifest says.

    Raises:
        RequestError: nobody has decided in what that is computed.
    """
    asked = allowed(computed_in(target, precision, runtime), metric, depth)
    if own_db is not None:
        return by_own_noise(asked, metric, own_db)
    return asked if recorded_db is None else as_recorded(asked, metric, recorded_db)


def computed_in(target: str, precision: str, runtime: str = "") -> str:
    """The arithmetic of a target in a precision, as a runtime computes it.

    Raises:
        RequestError: nobody has decided.
    """
    own = BY_RUNTIME.get((target, precision, runtime))
    arithmetic = own or ARITHMETIC.get((target, precision))
    if arithmetic is None:
        raise RequestError(
            f"{target} in {precision} has no parity tolerance; add what it is computed in "
            "to benchmarks/tolerances.py."
        )
    return arithmetic


def allowed(arithmetic: str, metric: str = PSNR, depth: int | None = None) -> Tolerance:
    """Floor less margin."""
    margin = MARGINS_DB.get(arithmetic, MARGIN_DB)
    db = round(floor(arithmetic, metric, DEPTHS[-1] if depth is None else depth) - margin, 1)
    return Tolerance(db, REASONS[arithmetic], arithmetic)


def by_own_noise(asked: Tolerance, metric: str, own_db: float) -> Tolerance:
    """What a noisy program can still show: its own noise less the margin, if the table asks more.

    Only in floating point, where noise is rounding.
    """
    if asked.arithmetic not in ("fp32", *NARROW):
        return asked
    least = LEAST_DB[metric] if asked.arithmetic == "fp32" else asked.db - EASED_DB
    db = round(max(own_db - MARGIN_DB, least), 1)
    itself = f"the reference itself is {own_db:.1f} dB from float64"
    if asked.arithmetic != "fp32":
        itself = f"the program itself in {asked.arithmetic} is {own_db:.1f} dB from float64"
    if db >= asked.db:
        return replace(asked, reason=f"by the table: {asked.reason} ({itself})")
    told = f"{itself}, less {MARGIN_DB:g} dB, never below {least:.1f} dB"
    return replace(asked, db=db, reason=f"by its own noise: {told} (the table: {asked.db} dB)")


def as_recorded(asked: Tolerance, metric: str, recorded_db: float) -> Tolerance:
    """What was asked at the export, which knew the program; a bundle cannot ask for anything."""
    # A manifest does not hold the depth, and could claim any: less than the deepest row is believed
    # as far as a program's own noise would be, which is a program of 512 contractions.
    least = LEAST_DB[metric] if asked.arithmetic == "fp32" else round(asked.db - EASED_DB, 1)
    db = max(recorded_db, least)
    told = f"as asked at the export, never below {least} dB (the table: {asked.db} dB)"
    return replace(asked, db=db, reason=told)


def floor(arithmetic: str, metric: str, depth: int) -> float:
    """The measured floor at a depth, in dB: never more than at any smaller depth.

    Between measured depths it is linear in their logarithm; beyond the last, the noise of every
    further contraction adds to the power of what was there: 3 dB a doubling.
    """
    row = FLOORS[arithmetic, metric]
    falling = [min(row[: i + 1]) for i in range(len(row))]
    if depth >= DEPTHS[-1]:
        return falling[-1] - 10 * math.log10(depth / DEPTHS[-1])
    for i, (low, high) in enumerate(pairwise(DEPTHS)):
        if depth < high:
            share = math.log(max(depth, low) / low) / math.log(high / low)
            return falling[i] + share * (falling[i + 1] - falling[i])
    raise AssertionError(depth)
