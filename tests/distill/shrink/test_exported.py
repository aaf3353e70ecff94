"""A network that has lost blocks, channels, pixels and frames exports like any other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from minuet.models.denoiser import rebuilt
from minuet.models.student import Sampler, Student
from tests.models.test_structure import CUT
from tests.models.tiny import LEVELS, denoiser


@pytest.mark.slow
def test_a_cut_student_is_the_same_in_onnx(tmp_path: Path) -> None:
    import onnxruntime as ort

    from minuet.export.capture import capture
    from minuet.export.to_onnx import export_onnx

    network = rebuilt(denoiser(), replace(CUT, frames=2)).eval().requires_grad_(False)
    student = Student(network=network, sampler=Sampler(levels=LEVELS), tokenizer="{}", card="")
    animator = student.animator(64)
    given = [value.numpy() for value in animator.example(3)]
    signature = animator.signature()
    arrays = {spec.name: value for spec, value in zip(signature.inputs, given, strict=True)}
    artifact = export_onnx(capture(animator, arrays, signature), tmp_path)
    session = ort.InferenceSession(next(tmp_path.rglob("*.onnx")))
    (made,) = session.run(None, arrays)
    with torch.no_grad():
        (true,) = (animator(*(torch.from_numpy(value) for value in given)).numpy(),)
    assert made.shape == true.shape == (4, 4, 64, 64) and artifact
    apart = np.abs(made.astype(int) - true.astype(int))
    assert apart.max() <= 2 and (apart > 0).mean() < 0.01
    assert (made[1] != made[0]).any() and (made[2] != made[0]).any()
