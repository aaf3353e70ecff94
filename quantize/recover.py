"""A quantized program and the float one -> the quantized one's numbers, trained until frames agree.

Hinton et al. 2015 (arXiv 1503.02531): the float program is the teacher, so that stickers are all
the data that it takes. Adam's step (Kingma and Ba 2015, arXiv 1412.6980) is as long as its rate
whatever the gradient; here it is in units of each tensor's own RMS, and so means the same for a
palette, a bias and an embedding.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Array, Arrays
from minuet.quantize.runs import tensors_of
from minuet.quantize.trainees import Trainee
from minuet.quantize.training import Training, read_training, write_training

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule
    from torch.optim import Adam

LEAST_RMS = 1e-2  # a tensor of zeros moves as one of this
BETAS = (0.9, 0.99)
FAINT = 1e-6  # mean square: below 60 dB a clip has nothing to teach, and the root no slope
WARM = 10  # steps in which the rate rises: the first mean squares are of a clip or two
MOST_STEPS = 100_000

Error = Callable[["Tensor", "Tensor"], "Tensor"]  # of an output and the wanted one; a scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long to train, and how boldly."""

    steps: int  # of one clip each
    rate: float = 1e-4  # the longest step, in RMS of the tensor that moves
    every: int = 50  # steps from one look at held-out clips to the next
    patience: int = 8  # looks without a better one, after which it ends

    def __post_init__(self) -> None:
        if not 0 < self.steps <= MOST_STEPS:
            raise RequestError(f"recovery takes 1 to {MOST_STEPS} steps, not {self.steps}.")
        if not (0 < self.rate < 1 and self.every > 0 and self.patience > 0):
            raise RequestError(f"rate is in (0, 1), every and patience above 0, not {self}.")

    def rate_at(self, step: int) -> float:
        """It rises, and falls as a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983, eq. 5)."""
        falling = (1 + math.cos(math.pi * step / self.steps)) / 2
        return self.rate * falling * min(1.0, (step + 1) / WARM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What training came to."""

    numbers: Arrays  # the best that held-out clips saw, by name
    before_db: float  # PSNR from the float program on them, untrained
    after_db: float
    best: int  # steps to the best; 0: training did not help
    steps: int  # that were made


def recover(
    trainee: Trainee,
    teacher: GraphModule,
    clip: Callable[[int], Arrays],
    held: Sequence[Arrays],
    course: Course,
    notes: Path,
    *,
    error: Error | None = None,
    step: Callable[[], None] = lambda: None,
) -> Recovered:
    """Descend the error of one clip after another; of all looks at held-out clips keep the best.

    The same arguments, versions and number of threads give the same bytes, interrupted or not.

    Args:
        teacher: the float program, floating as the trainee's is.
        clip: the inputs at an address from 0 on; each step takes one.
        held: inputs at no such address.
        notes: a file that an interrupted run goes on from, of any other run passed over; it stays.
        error: what is made small; none: frames_error.
        step: called after each step.

    Raises:
        RequestError: no held-out clips, or numbers that are not finite any more.
    """
    if not held:
        raise RequestError("recovery is judged on held-out clips, and there are none; give one.")
    pair = _Pair(trainee=trainee, teacher=teacher, error=error or frames_error)
    key = _key(pair, held, course)
    training = read_training(notes, key, trainee.numbers)
    if not training.looks:
        training.look(pair.look(training, held))
    optimizer = _optimizer(training, trainee.numbers)
    while training.step < course.steps and training.stale < course.patience:
        pair.descend(training, clip(training.step), optimizer, course)
        training.step += 1
        if training.step % course.every == 0 or training.step == course.steps:
            training.look(pair.look(training, held))
            write_training(notes, key, training)
        step()
    return Recovered(
        numbers={name: one.numpy() for name, one in training.best.items()},
        before_db=_decibels(training.looks[0]),
        after_db=_decibels(min(training.looks)),
        best=training.best_step,
        steps=training.step,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Who is taught, by whom, and what is made small."""

    trainee: Trainee
    teacher: GraphModule
    error: Error

    def on(self, training: Training, inputs: Arrays) -> Tensor:
        """The error on one clip."""
        import torch

        given = tensors_of(inputs)
        with torch.no_grad():
            wanted = self.teacher(*given)
        return self.error(self.trainee(training.numbers, given), wanted)

    def look(self, training: Training, held: Sequence[Arrays]) -> float:
        """The mean error on held-out clips."""
        import torch

        with torch.no_grad():
            seen = [float(self.on(training, one)) for one in held]
        return _finite(sum(seen) / len(seen), training)

    def descend(self, training: Training, inputs: Arrays, optimizer: Adam, course: Course) -> None:
        """One step down the root of one clip's error.

        The root: a clip in which a limb swings elsewhere has a hundred times the mean square of the
        others, and would be all that is learned from.
        """
        optimizer.zero_grad()
        loss = (self.on(training, inputs) + FAINT).sqrt()
        _finite(float(loss.detach()), training)
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = course.rate_at(training.step) * group["rms"]
        optimizer.step()


def _optimizer(training: Training, start: Arrays) -> Adam:
    """Adam as it was at the training's step; its means are the training's own tensors."""
    import torch

    for one in training.numbers.values():
        one.requires_grad_()
    groups = [{"params": [one], "rms": _rms(start[name])} for name, one in training.numbers.items()]
    optimizer = torch.optim.Adam(groups, betas=BETAS)
    for name, one in training.numbers.items():
        optimizer.state[one] = {
            "step": torch.tensor(float(training.step)),
            "exp_avg": training.means[name],
            "exp_avg_sq": training.squares[name],
        }
    return optimizer


def _rms(values: Array) -> float:
    return max(float(np.sqrt(np.square(values).mean(dtype=np.float64))), LEAST_RMS)


def _finite(error: float, training: Training) -> float:
    if not math.isfinite(error):
        raise RequestError(
            f"recovery left the finite numbers at step {training.step}: the weights or the clips "
            "are broken, or the rate is too high. Nothing was written."
        )
    return error


def _decibels(error: float) -> float:
    return -10 * math.log10(error) if error else math.inf


def _key(pair: _Pair, held: Sequence[Arrays], course: Course) -> str:
    """Of all that decides what comes of it, but for the clips, which are known by address."""
    told = json.dumps([asdict(course), str(pair.trainee.module.graph), str(pair.teacher.graph)])
    digest = hashlib.sha256(told.encode())
    states = map(_state, (pair.trainee.module, pair.teacher))
    for arrays in (pair.trainee.numbers, _rounded(pair.trainee), *states, *held):
        for name, value in arrays.items():
            digest.update(name.encode() + str(value.shape).encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _rounded(trainee: Trainee) -> Arrays:
    """The parameters as training begins, which show what of them is rounded."""
    import torch

    numbers = {name: torch.tensor(value) for name, value in trainee.numbers.items()}
    with torch.no_grad():
        return {name: one.numpy() for name, one in trainee.parameters(numbers).items()}


def _state(module: GraphModule) -> Arrays:
    """Copies: torchao resizes its scales, and numpy would hold them fast."""
    return {name: one.detach().clone().numpy() for name, one in module.state_dict().items()}


def frames_error(made_TCHW: Tensor, wanted_TCHW: Tensor) -> Tensor:
    """Mean square difference of premultiplied frames in 0..1; the first is given, and left out.

    Args:
        made_TCHW: straight RGBA in 0..255, not yet rounded; wanted_TCHW too.
    """
    return (_visible(made_TCHW) - _visible(wanted_TCHW)).square().mean()


def _visible(frames_TCHW: Tensor) -> Tensor:
    import torch

    frames = frames_TCHW[1:] / 255
    return torch.cat([frames[:, :3] * frames[:, 3:], frames[:, 3:]], dim=1)
