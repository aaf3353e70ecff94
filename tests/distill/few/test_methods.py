"""Every method recovers the modes of an exact teacher in few steps; planted faults do not.

Coverage and fidelity both: a student at one mode is faithful, one all over the plane covers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from minuet.contracts.errors import RequestError
from minuet.distill import rollout
from minuet.distill.few import matching
from minuet.distill.few.adversarial import Adversarial, steepness
from minuet.distill.few.backward import Backward
from minuet.distill.few.consistency import Consistency, bounded
from minuet.distill.few.matching import Matching
from minuet.distill.few.progressive import Progressive, implied
from minuet.distill.few.reflow import Reflow
from minuet.distill.loop import Contest, Objective, Rivals
from minuet.distill.path import generator, levels, noised
from minuet.distill.rollout import descend, shared
from tests.distill.few.mixture import Judge, Mixture, Seen, lesson, seen, start, train

TEACHER = Mixture()
LIMITS = {  # (shares of the modes that are wrong, share of samples near no mode), at most
    "progressive": (0.1, 0.2),
    "joint": (0.1, 0.2),
    "consistency": (0.13, 0.25),
    "matching": (0.17, 0.32),  # nobody says which noise becomes what: modes are found
    "adversarial": (0.25, 0.45),  # nor where they are, but for what critics tell apart
    "backward": (0.1, 0.2),
    "reflow": (0.1, 0.2),
}
RENOISED = ("consistency", "matching", "adversarial")


def rivals(steps: int, **kinds: Callable[[], nn.Module]) -> Rivals:
    """Rivals of each kind, one for each step."""
    named = {f"{kind}@{i}": make() for kind, make in kinds.items() for i in range(steps)}
    return Rivals(networks=nn.ModuleDict(named), learning_rate=2e-3, turns=2)


def progressive(steps: int) -> nn.Module:
    """From four times as many steps, halved and halved."""
    half = train(Progressive(teacher=TEACHER, teacher_levels=levels(4 * steps, 1.0)), start(), 250)
    again = Progressive(teacher=half.requires_grad_(False), teacher_levels=levels(2 * steps, 1.0))
    return train(again, start(), 350)


def joint(steps: int) -> nn.Module:
    many = levels(8 * steps, 1.0)
    return train(Progressive(teacher=TEACHER, teacher_levels=many, merged=8), start(), 350)


def consistency(steps: int) -> nn.Module:
    network, average = start(), start().requires_grad_(False)
    objective = Consistency(teacher=TEACHER, average=average, levels=levels(24, 1.0), skip=2)
    train(objective, network, 600, average=average)
    return average


def matched(steps: int, count: int = 500) -> nn.Module:
    torch.manual_seed(1)
    objective = Matching(
        real=TEACHER,
        rivals=rivals(steps, fake=start, critic=Judge),
        levels=levels(steps, 1.0),
        adversary=0.1,
    )
    return train(objective, start(), count, rate=2e-3)


def adversarial(steps: int) -> nn.Module:
    torch.manual_seed(1)
    objective = Adversarial(
        teacher=TEACHER,
        rivals=rivals(steps, critic=Judge),
        levels=levels(steps, 1.0),
        distil=1.0,
        penalty=0.3,
    )
    return train(objective, start(), 400, rate=1e-3)


def backward(steps: int) -> nn.Module:
    many = levels(8, 1.0)
    objective = Backward(teacher=TEACHER, teacher_levels=many, levels=levels(steps, 1.0))
    return train(objective, start(), 400)


def reflow(steps: int) -> nn.Module:
    many = levels(8, 1.0)
    objective = Reflow(teacher=TEACHER, teacher_levels=many, levels=levels(steps, 1.0))
    return train(objective, start(), 400)


METHODS = {
    "progressive": progressive,
    "joint": joint,
    "consistency": consistency,
    "matching": matched,
    "adversarial": adversarial,
    "backward": backward,
    "reflow": reflow,
}
LONG = ("matching", "adversarial")
CASES = [(name, 2) for name in METHODS if name not in LONG]
CASES += [(name, steps) for name in ("backward", "reflow") for steps in (1, 4)]
SLOW_CASES = [("consistency", 1), ("matching", 1), ("matching", 4), ("adversarial", 4)]


def recovered(found: Seen, name: str) -> bool:
    uncovered, stray = LIMITS[name]
    return found.uncovered < uncovered and found.stray < stray


@pytest.mark.parametrize(
    ("name", "steps"),
    [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW_CASES)],
)
def test_a_method_recovers_every_mode(name: str, steps: int) -> None:
    found = seen(METHODS[name](steps), levels(steps, 1.0), renoise=name in RENOISED)
    assert recovered(found, name), found


@pytest.mark.parametrize("name", METHODS)
def test_a_student_that_learnt_nothing_recovers_none(name: str) -> None:
    for steps in (1, 2):
        found = seen(start(), levels(steps, 1.0), renoise=name in RENOISED)
        assert not recovered(found, name), found


def test_the_wrong_sign_of_two_scores_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    few, before = levels(2, 1.0), seen(start(), levels(2, 1.0), renoise=True)
    right = seen(matched(2, 120), few, renoise=True)
    direction = matching.direction
    monkeypatch.setattr(matching, "direction", lambda x, real, fake: -direction(x, real, fake))
    wrong = seen(matched(2, 120), few, renoise=True)
    assert right.distance < before.distance < wrong.distance


def test_a_gradient_that_is_not_stopped_teaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "detach", lambda self: self)
    assert not recovered(seen(matched(2, 50), levels(2, 1.0), renoise=True), "matching")


def test_two_scores_push_each_sample_by_their_difference() -> None:
    class Free(nn.Module):
        """Answers with its only weight."""

        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Parameter(torch.tensor([[0.3, -0.2]]))

        def forward(self, z: Tensor, t_B: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
            return self.x

    class Constant(nn.Module):
        def forward(self, z: Tensor, t_B: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
            return torch.tensor([[1.3, 0.8]])

    def real(z: Tensor, t_B: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        return torch.tensor([[0.8, -0.3]])

    network = Free()
    fake = Rivals(networks=nn.ModuleDict({"fake": Constant()}), learning_rate=0.1)
    objective = Matching(real=real, rivals=fake, levels=(1.0, 0.0))
    loss, _ = objective(network, lesson(1, generator(0)), generator(1))
    loss.backward()
    # (x - real) - (x - fake) = (0.5, 1.1); mean |x - real| = 0.3; the mean over two numbers.
    assert_close(network.x.grad, torch.tensor([[0.5, 1.1]]) / 0.3 / 2)


@pytest.mark.parametrize("kind", ["consistency", "backward", "progressive", "reflow"])
def test_no_gradient_comes_through_the_target(kind: str) -> None:
    teacher, network = start(), start()
    objectives: dict[str, Objective] = {
        "consistency": Consistency(teacher=teacher, average=network, levels=levels(8, 1.0)),
        "backward": Backward(
            teacher=teacher, teacher_levels=levels(4, 1.0), levels=levels(2, 1.0), begin=(0.9, 0.4)
        ),
        "progressive": Progressive(teacher=teacher, teacher_levels=levels(4, 1.0)),
        "reflow": Reflow(teacher=teacher, teacher_levels=levels(4, 1.0), levels=levels(2, 1.0)),
    }
    asked = 0

    def counted(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal asked
        asked += output.requires_grad

    network.register_forward_hook(counted)
    objectives[kind](network, lesson(16, generator(0)), generator(1))[0].backward()
    assert asked == 1
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize("kind", [Matching, Adversarial])
def test_student_and_rivals_learn_in_their_own_turns_only(kind: type) -> None:
    network = start()
    objective: Contest
    if kind is Matching:
        both = rivals(2, fake=start, critic=Judge)
        objective = Matching(real=TEACHER, rivals=both, levels=levels(2, 1.0))
    else:
        both = rivals(2, critic=Judge)
        objective = Adversarial(teacher=TEACHER, rivals=both, levels=levels(2, 1.0), penalty=1.0)
    objective(network, lesson(16, generator(0)), generator(1))[0].backward()
    assert all(parameter.grad is None for parameter in both.networks.parameters())
    network.zero_grad()
    objective.against(network, lesson(16, generator(0)), generator(1))[0].backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    heard = {name for name, one in both.networks.items() if next(one.parameters()).grad is not None}
    assert heard and len({name[-1] for name in heard}) == 1  # one step's


def test_a_plane_is_as_steep_as_its_normal_is_long() -> None:
    x = torch.randn(5, 2, generator=generator(1)).requires_grad_()
    assert_close(steepness(x, [x @ torch.tensor([[3.0], [4.0]])]), torch.tensor(25.0))


def test_the_implied_estimate_leads_in_one_step_where_two_do() -> None:
    z = torch.randn(64, 2, generator=generator(1))
    way = shared((0.9, 0.6, 0.35), z)
    end = descend(TEACHER, z, way, {})
    target = implied(z, end, way[0], way[-1])
    assert_close(rollout.stepped(z, target, way[0], way[-1]), end)


def test_a_consistent_answer_at_level_zero_is_the_clip_itself_and_elsewhere_the_network() -> None:
    z = torch.randn(16, 2, generator=generator(1))
    assert torch.equal(bounded(start(), z, torch.zeros(16), {}), z)
    t_B = torch.full((16,), 0.1)
    assert_close(bounded(start(), z, t_B, {}), start()(z, t_B, {}), atol=1e-5, rtol=1e-5)


def test_unshifted_the_teacher_begins_at_the_students_own_noisy_clip() -> None:
    met: list[Tensor] = []
    given: list[Tensor] = []

    def teacher(z: Tensor, t_B: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        met.append(z)
        return TEACHER(z, t_B, condition)

    network = start()
    network.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    objective = Backward(teacher=teacher, teacher_levels=(1.0, 0.0), levels=(1.0, 0.0))
    objective(network, lesson(16, generator(0)), generator(1))
    assert_close(met[0], given[-1], atol=1e-5, rtol=1e-5)


def test_at_level_one_the_noise_estimate_is_the_sample_itself() -> None:
    """Noise correction: on the straight path there is nothing to correct."""
    z, one = torch.randn(16, 2, generator=generator(1)), torch.ones(16)
    clean = TEACHER(z, one, {})
    half = torch.full((16,), 0.5)
    assert_close(rollout.stepped(z, clean, one, half), noised(clean, z, half))


@dataclass(frozen=True)
class Wrong:
    make: Callable[[], object]
    said: str


NO_RIVALS = Rivals(networks=nn.ModuleDict(), learning_rate=0.1)
WRONG: Sequence[Wrong] = (
    Wrong(lambda: Progressive(teacher=TEACHER, teacher_levels=levels(5, 1.0)), "do not divide"),
    Wrong(
        lambda: Consistency(teacher=TEACHER, average=TEACHER, levels=(1.0, 0.0), skip=2), "within"
    ),
    Wrong(lambda: Matching(real=TEACHER, rivals=NO_RIVALS, levels=(1.0, 0.0)), "a fake"),
    Wrong(lambda: Adversarial(teacher=TEACHER, rivals=NO_RIVALS, levels=(1.0, 0.0)), "no critic"),
    Wrong(
        lambda: Backward(
            teacher=TEACHER, teacher_levels=(1.0, 0.0), levels=(1.0, 0.0), begin=(0.5, 0.5)
        ),
        "for each student step",
    ),
    Wrong(
        lambda: Reflow(teacher=TEACHER, teacher_levels=(1.0, 0.0), levels=(0.9, 0.0)), "from 1 to 0"
    ),
)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.said)
def test_what_cannot_be_is_refused_at_once(wrong: Wrong) -> None:
    with pytest.raises(RequestError, match=wrong.said):
        wrong.make()
