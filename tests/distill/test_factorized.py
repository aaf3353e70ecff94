"""Teachers that each know a part, and the student of the whole: on targets known in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from minuet.distill.adapters import attach, trained
from minuet.distill.critics import Critic as VideoCritic
from minuet.distill.critics import frozen, hinge_critic
from minuet.distill.factorized import Critique, Factorized, Samples, Voice, rivals_of
from minuet.distill.loop import Contest, TrainConfig, Trainer
from minuet.distill.path import generator
from minuet.distill.predict import Composed, Condition
from minuet.distill.rollout import generate
from minuet.distill.score import Range
from minuet.distill.views import Clip, View
from tests.distill.squares import draw
from tests.models.tiny import denoiser

SHIFT = {"left": 2.0, "right": -1.0}  # each coordinate's mean, by who knows it
SPREAD = 0.3
LEVELS = Range(low=0.2, high=0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """A lesson: how many points, and what each is told."""

    x0: Tensor
    condition: Condition = field(default_factory=dict)


def points(size: int = 64, told: float = 1.0) -> Points:
    """No clean example is in it: what the x0 says is only the shape."""
    x0 = torch.full((size, 2), float("nan"))
    return Points(x0=x0, condition={"gain": torch.full((size, 1), told)})


@dataclass(frozen=True, slots=True)
class Knows:
    """The exact posterior mean of one coordinate, normal about gain * SHIFT."""

    name: str

    def __call__(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        mean, t = condition["gain"] * SHIFT[self.name], t_B[:, None]
        gain = (1 - t) * SPREAD**2 / ((1 - t) ** 2 * SPREAD**2 + t**2)
        return mean + gain * (noisy - (1 - t) * mean)


def coordinate(at: int) -> View:
    """The view of one coordinate alone."""
    return lambda output, condition: (output[:, at : at + 1], condition)


class Student(nn.Module):
    """x0 from a point and its level."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, noisy: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        answer: Tensor = self.body(torch.cat([noisy, t_B[:, None]], 1)) * condition["gain"]
        return answer


class Critic(nn.Module):
    """A critic of one coordinate."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, output: Tensor, told: Tensor | None = None) -> Tensor:
        logits: Tensor = self.body(torch.cat([output, output**2], 1))
        return logits


def voices(*, critics: bool = False) -> dict[str, Voice]:
    found = {}
    for at, name in enumerate(SHIFT):
        samples = Samples(teacher=Knows(name), levels=(1.0, 0.75, 0.5, 0.25, 0.1, 0.0))
        critique = Critique(critic=Critic(), positives=samples) if critics else None
        found[name] = Voice(
            teacher=Knows(name), view=coordinate(at), levels=LEVELS, critique=critique
        )
    return found


def contest(judged: Mapping[str, Voice], sds: float = 2.5) -> Factorized:
    rivals = rivals_of(judged, learning_rate=1e-2)
    return Factorized(voices=judged, sds=sds, rivals=rivals)


def taught(
    objective: Factorized, steps: int, rate: float = 1e-2
) -> tuple[Student, list[Mapping[str, float]]]:
    """A student after these steps, its rivals before each, and what was told on the way."""
    student = Student()
    log: list[Mapping[str, float]] = []
    optimizer = torch.optim.Adam(student.parameters(), rate)
    rivals = objective.rivals
    others = rivals and torch.optim.Adam(rivals.networks.parameters(), rivals.learning_rate)
    for step in range(steps):
        if others:
            loss, _ = objective.against(student, points(), generator(8, step))
            others.zero_grad()
            loss.backward()
            others.step()
        loss, parts = objective(student, points(), generator(7, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.append({name: float(part) for name, part in parts.items()})
    return student, log


def made(student: nn.Module, levels: tuple[float, ...] = (1.0, 0.6, 0.3, 0.0)) -> Tensor:
    noise = torch.randn(512, 2, generator=generator(9))
    return generate(student, noise, levels, points(512).condition)


def test_two_teachers_of_one_coordinate_each_make_the_joint_and_are_both_content() -> None:
    student, log = taught(Factorized(voices=voices()), 150)
    torch.testing.assert_close(made(student).mean(0), torch.tensor([2.0, -1.0]), atol=0.1, rtol=0)
    for name in SHIFT:
        first, last = (sum(p[f"{name}_residual"] for p in part) for part in (log[:10], log[-10:]))
        assert last < 0.2 * first


@pytest.mark.parametrize("gone", list(SHIFT))
def test_without_a_teacher_its_coordinate_stays_wrong(gone: str) -> None:
    left = {name: voice for name, voice in voices().items() if name != gone}
    student, _ = taught(Factorized(voices=left), 150)
    error = (made(student).mean(0) - torch.tensor([2.0, -1.0])).abs()
    wrong = list(SHIFT).index(gone)
    assert error[wrong] > 0.5 and error[1 - wrong] < 0.1


def test_critics_alone_lead_towards_the_teachers_samples() -> None:
    student, _ = taught(contest(voices(critics=True), sds=0.0), 200, rate=5e-3)
    wanted = torch.tensor([2.0, -1.0])
    assert ((made(student).mean(0) - wanted).abs() < 0.5 * wanted.abs()).all()


def test_the_loss_is_the_published_sum() -> None:
    """alpha (L_G + lambda L_SDS) + beta (...), against each voice and term on its own."""
    judged = voices(critics=True)
    whole, _ = contest(judged)(Student(), points(), generator(1))
    whole.backward()
    terms = []
    for sds, with_critic in ((2.5, False), (0.0, True)):
        some = judged if with_critic else {n: replace(v, critique=None) for n, v in judged.items()}
        loss, _ = contest(some, sds)(Student(), points(), generator(1))
        terms.append(float(loss.detach()))
    assert float(whole.detach()) == pytest.approx(sum(terms), rel=1e-4)
    heavier = {name: replace(voice, weight=1.0) for name, voice in judged.items()}
    twice, _ = contest(heavier)(Student(), points(), generator(1))
    assert float(twice.detach()) == pytest.approx(2 * float(whole.detach()), rel=1e-4)


def gradients(objective: Factorized) -> list[Tensor]:
    student = Student()
    objective(student, points(), generator(1))[0].backward()
    return [p.grad for p in student.parameters() if p.grad is not None]


def kept(*, recomputed: bool) -> int:
    """How many numbers the forward pass keeps for the backward pass."""
    sizes: list[int] = []

    def keep(value: Tensor) -> Tensor:
        sizes.append(value.numel())
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        Factorized(voices=voices(), recomputed=recomputed)(Student(), points(), generator(1))
    return sum(sizes)


def test_recomputing_changes_no_gradient_and_keeps_less() -> None:
    assert kept(recomputed=True) < 0.5 * kept(recomputed=False)
    plain, again = (
        gradients(Factorized(voices=voices(), recomputed=recomputed))
        for recomputed in (False, True)
    )
    for one, other in zip(plain, again, strict=True):
        assert torch.equal(one, other)


def test_gradients_pass_all_steps_unless_the_last_alone_is_asked_for() -> None:
    """With one step, both are the same; with three, the earlier calls matter."""
    for steps, same in ((1, True), (3, False)):
        whole, last = (
            gradients(Factorized(voices=voices(), steps=steps, last_step_only=only))
            for only in (False, True)
        )
        alike = all(torch.equal(a, b) for a, b in zip(whole, last, strict=True))
        assert alike == same


def test_one_level_is_drawn_out_of_each_bin() -> None:
    published = Factorized(voices={}, steps=4, pure_start=False)
    drawn = torch.tensor([published.drawn(generator(i)) for i in range(300)])
    for at in range(4):
        low, high = (3 - at) / 4, (4 - at) / 4
        assert low <= drawn[:, at].min() < low + 0.02 and high - 0.02 < drawn[:, at].max() <= high
    assert (drawn[:, 4] == 0).all()


def test_by_default_the_first_call_is_told_that_its_input_is_noise() -> None:
    drawn = [Factorized(voices={}, steps=3).drawn(generator(i)) for i in range(20)]
    assert {levels[0] for levels in drawn} == {1.0} and len({levels[1] for levels in drawn}) == 20


def test_without_bins_the_levels_are_even() -> None:
    assert Factorized(voices={}, steps=4, bins=False).drawn(generator(0)) == [1, 0.75, 0.5, 0.25, 0]


def test_the_critics_turn_leaves_the_student_alone_and_the_students_turn_the_critics() -> None:
    student = Student()
    objective: Contest = contest(voices(critics=True))
    rivals = objective.rivals
    assert rivals is not None
    objective.against(student, points(), generator(1))[0].backward()
    assert all(p.grad is None for p in student.parameters())
    assert all(p.grad is not None for p in rivals.networks.parameters())
    rivals.networks.zero_grad()
    objective(student, points(), generator(1))[0].backward()
    assert all(p.grad is not None for p in student.parameters())
    assert all(p.grad is None for p in rivals.networks.parameters())


def test_positives_are_the_teachers_samples_told_what_the_student_was() -> None:
    """The lesson's x0 is not a number, so no data can be among them."""
    judged = voices(critics=True)
    loss, parts = contest(judged).against(Student(), points(), generator(1))
    assert torch.isfinite(loss) and set(parts) == {"left_critic_loss", "right_critic_loss"}
    critique = judged["left"].critique
    assert critique is not None
    for gain in (1.0, 3.0):
        told = points(512, gain).condition
        real = critique.positives(torch.randn(512, 1, generator=generator(2)), told)
        assert real.mean().item() == pytest.approx(gain * SHIFT["left"], abs=0.1)


def test_the_critics_loss_is_the_hinge_of_samples_and_outputs() -> None:
    judged = {"left": voices(critics=True)["left"]}
    objective, student = contest(judged), Student()
    rng = generator(1)
    loss, _ = objective.against(student, points(), rng)
    rng = generator(1)
    with torch.no_grad():
        output = objective.play(student, points(), rng)[:, :1]
    critique = judged["left"].critique
    assert critique is not None
    real = critique.positives(torch.randn(output.shape, generator=rng), points().condition)
    by_hand = 0.5 * hinge_critic(critique.critic(real), critique.critic(output))
    torch.testing.assert_close(loss, by_hand)


def test_voices_without_critics_have_no_rivals() -> None:
    assert rivals_of(voices(), learning_rate=1e-2) is None


def test_critics_that_nobody_trains_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rivals_of\(voices\)"):
        Factorized(voices=voices(critics=True))


def adapted(folder: Path) -> tuple[Trainer, Factorized]:
    """A sticker student with LoRA, its teacher of clips, and that teacher's critic."""
    teacher, student = Composed(frozen(denoiser())), Composed(denoiser())
    attach(student, ["*coarse*"], rank=2)
    torch.manual_seed(2)
    critic = VideoCritic(lambda images: [images], (4,), temporal=True, width=8)
    judged = {
        "clips": Voice(
            teacher=teacher,
            view=Clip(names={"tokens": "tokens"}, first="sticker"),
            critique=Critique(
                critic=critic, positives=Samples(teacher=teacher, levels=(1.0, 0.5, 0.0))
            ),
        )
    }
    objective = contest(judged)
    config = TrainConfig(clips=4, batch=2, warmup_clips=0)
    return Trainer(student, config, folder, objective.rivals), objective


def test_a_run_with_lora_and_critics_goes_on_exactly_where_it_was(tmp_path: Path) -> None:
    whole, objective = adapted(tmp_path / "whole")
    whole.run(objective, draw)
    first, objective = adapted(tmp_path / "parts")
    first.learn(objective, draw)
    first.save()
    second, objective = adapted(tmp_path / "parts")
    assert second.resume()
    second.run(objective, draw)
    ends = (trained(trainer.network) for trainer in (whole, second))
    for one, other in zip(*(end.values() for end in ends), strict=True):
        assert torch.equal(one, other)
    start = trained(adapted(tmp_path / "new")[0].network)
    assert any(not torch.equal(v, start[k]) for k, v in trained(whole.network).items())
