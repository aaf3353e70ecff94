"""Faults planted in saved Core ML packages, one at a time, are each caught; the package passes."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minuet.contracts.artifact import Artifact
from minuet.export.capture import Program, capture
from minuet.export.quiet import quiet
from minuet.export.to_coreml import export_coreml
from tests.benchmarks.fewstep import TIMES, example, fewstep, signature, time_bias
from tests.benchmarks.judged import proven
from tests.mlpackage import Saved

pytest.importorskip("coremltools")

LOUD = 1e5  # a norm divides by it at once; float16 ends at 65504
Made = dict[str, tuple[Path, Artifact]]  # by precision: the folder, and what lies in it


@pytest.fixture(scope="module")
def program() -> Program:
    return capture(fewstep(), dict(example()), signature())


@pytest.fixture(scope="module")
def made(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("packages")
    found = {one: (folder, export_coreml(program, folder, one)) for one in ("fp32", "fp16")}
    return found | {"int8": (folder, eight_bits(folder, found["fp32"][1]))}


def eight_bits(folder: Path, artifact: Artifact) -> Artifact:
    """The float32 package with its weights in int8, a scale a channel, by coremltools."""
    with quiet():
        import coremltools as ct
        from coremltools.optimize.coreml import (
            OpLinearQuantizerConfig,
            OptimizationConfig,
            linear_quantize_weights,
        )

        model = ct.models.MLModel(str(folder / artifact.entry), skip_model_load=True)
        asked = OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0)
        narrow = linear_quantize_weights(model, OptimizationConfig(global_config=asked))
        entry = "coreml-int8/model.mlpackage"
        narrow.save(str(folder / entry))
    return replace(artifact, precision="int8", entry=entry, files=())


def judged(
    program: Program,
    one: tuple[Path, Artifact],
    folder: Path,
    fault: Callable[[Saved], None] | None = None,
) -> str:
    """A copy of a package with a fault in it, as the evaluator runs it."""
    home, artifact = one
    shutil.copytree(home / artifact.entry, folder / artifact.entry)
    if fault:
        saved = Saved(folder / artifact.entry)
        fault(saved)
        saved.keep()
    return proven(program, artifact, folder, example(seed=3), "mil").verdict


def transposed_kernel(saved: Saved) -> None:
    kernel = fewstep().denoiser.middle.weight.detach().numpy()
    saved.put("p_denoiser_middle_weight", kernel.transpose(0, 1, 3, 2))


def stale_weights(saved: Saved) -> None:
    saved.put("p_denoiser_head_weight", fewstep(seed=1).denoiser.head.weight.detach().numpy())


def off_by_one_timestep(saved: Saved) -> None:
    """The first step's embedding is folded to a constant: this is what 998 folds to."""
    right, wrong = (time_bias(fewstep(), t) for t in (TIMES[0], TIMES[0] - 1))
    rows = saved.values().items()
    (name,) = (k for k, v in rows if v.shape == right.shape and np.allclose(v, right, atol=1e-3))
    saved.put(name, wrong)


def wrong_guidance_order(saved: Saved) -> None:
    """untold + g (told - untold) becomes told + g (untold - told)."""
    minus, plus = saved.op("sub_2"), saved.op("add_9")
    told, untold = (minus.inputs[name].arguments[0] for name in "xy")
    told.name, untold.name = untold.name, told.name
    plus.inputs["x"].arguments[0].name = untold.name


def missing_normalisation(saved: Saved) -> None:
    """The decoder is handed latents that were not divided by their scale."""
    saved.put("_inversed_div_2_y_0", np.ones(()))


def dropped_alpha(saved: Saved) -> None:
    opaque = np.array([0, 0, 0, 255], np.float32).reshape(1, 4, 1, 1)
    saved.behind("frames", "maximum", y=opaque)


def wrong_channel_order(saved: Saved) -> None:
    order, axis = np.array([2, 1, 0, 3], np.int32), np.array(1, np.int32)
    zero, no = np.array(0, np.int32), np.array(False)
    saved.behind("frames", "gather", indices=order, axis=axis, batch_dims=zero, validate_indices=no)


def nan_in_one_frame(saved: Saved) -> None:
    holes = np.zeros((2, 1, 1, 1), np.float32)
    holes[1] = np.nan
    saved.behind("latents", "add", y=holes)


def one_value_is_infinite(saved: Saved) -> None:
    holes = np.zeros((1, 1, 16, 16), np.float32)
    holes[..., 3, 4] = np.inf
    saved.behind("latents", "add", y=holes)


FAULTS = [
    transposed_kernel,
    stale_weights,
    off_by_one_timestep,
    wrong_guidance_order,
    missing_normalisation,
    dropped_alpha,
    wrong_channel_order,
    nan_in_one_frame,
    one_value_is_infinite,
]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_package_as_exported_passes(
    program: Program, made: Made, tmp_path: Path, precision: str
) -> None:
    assert judged(program, made[precision], tmp_path) == "pass"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_caught(
    program: Program, made: Made, tmp_path: Path, fault: Callable[[Saved], None], precision: str
) -> None:
    assert judged(program, made[precision], tmp_path, fault) == "fail"


def swapped_scales(saved: Saved) -> None:
    """Two kernels of as many channels get the steps of one another."""
    ops = [op for op in saved.block.operations if op.type == "constexpr_blockwise_shift_scale"]
    stem, middle = (
        next(
            op.inputs["scale"].arguments[0] for op in ops if f"{name}_weight" in op.outputs[0].name
        )
        for name in ("stem", "middle")
    )
    kept = type(stem).FromString(stem.SerializeToString())
    stem.CopyFrom(middle)
    middle.CopyFrom(kept)


def test_a_swapped_scale_of_int8_is_caught(program: Program, made: Made, tmp_path: Path) -> None:
    assert judged(program, made["int8"], tmp_path, swapped_scales) == "fail"


def test_float16_overflow_is_caught_where_float32_has_none(
    program: Program, made: Made, tmp_path: Path
) -> None:
    """A sum is infinite before the norm divides it away; in float32 the frames are the same."""

    def loud(saved: Saved) -> None:
        kernel = fewstep(loud=LOUD).denoiser.middle.weight.detach().numpy()
        assert np.isfinite(kernel.astype(np.float16)).all()
        saved.put("p_denoiser_middle_weight", kernel)

    sound = capture(fewstep(loud=LOUD), dict(example()), signature())
    assert judged(sound, made["fp32"], tmp_path, loud) == "pass"
    assert judged(sound, made["fp16"], tmp_path, loud) == "fail"
