"""Folds: found by what the graph does, refused where a rescaled channel would show."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.quantize.folds import Fold, folds
from tests.quantize.tiny import captured, network


class Made(nn.Module):
    """A network of two convolutions with something between, on (1, 3, 8, 8)."""

    def __init__(self, between: str) -> None:
        super().__init__()
        groups = 8 if between == "groups" else 1
        self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3, groups=min(groups, 4))
        self.two = nn.Conv2d(8, 8 if groups > 1 else 4, 3, groups=groups)
        self.side, self.norm = nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)
        self.between = between

    def forward(self, image: Tensor) -> Tensor:
        h = self.one(image)
        made: Tensor = self.two(BETWEEN[self.between](h, self, image))
        return made


BETWEEN = {
    "nothing": lambda h, net, image: h,
    "relu": lambda h, net, image: F.relu(h) * 0.5,
    "leaky": lambda h, net, image: F.leaky_relu(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "reshaped": lambda h, net, image: h.reshape(1, 8, 36).reshape(1, 8, 6, 6),
    "flipped": lambda h, net, image: torch.cat([h[:, 4:]], 1)[:, :4].repeat(1, 2, 1, 1),
    "silu": lambda h, net, image: F.silu(h),
    "gelu": lambda h, net, image: F.gelu(h),
    "sum": lambda h, net, image: h + net.side(image),
    "square": lambda h, net, image: h * h,
    "bias": lambda h, net, image: h + 1,
    "joined": lambda h, net, image: torch.cat([h[:, :4], net.side(image)[:, 4:]], 1),
    "mixed": lambda h, net, image: h.reshape(1, 36, 8).permute(0, 2, 1).reshape(1, 8, 6, 6),
    "also shown": lambda h, net, image: h * (h.mean() > 5),
    "groups": lambda h, net, image: h,
    "norm": lambda h, net, image: F.relu(net.norm(F.silu(h))),
}
PASSED = {"nothing": 8, "relu": 8, "leaky": 8, "reshaped": 8}


def found(module: nn.Module) -> tuple[Fold, ...]:
    return folds(captured(module.eval().requires_grad_(False))[0].module())


@pytest.mark.parametrize("between", [word for word in BETWEEN if word != "norm"])
def test_only_what_treats_channels_alike_lets_them_through(between: str) -> None:
    made = [fold for fold in found(Made(between)) if fold.weight == "one.weight"]
    assert sum(int(fold.free_C.sum()) for fold in made) == PASSED.get(between, 0)
    assert all(list(fold.readers) == ["two.weight"] for fold in made)


def test_a_norm_with_weights_of_its_own_is_a_maker() -> None:
    (fold,) = found(Made("norm"))
    assert (fold.weight, fold.bias) == ("norm.weight", "norm.bias")
    assert fold.free_C.all()


class Attention(nn.Module):
    """Of 36 tokens, whose norm three layers read; values pass a softmax's weights."""

    def __init__(self, residual: bool) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3), nn.LayerNorm(8)
        self.query, self.both, self.out = nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(8, 8)
        self.residual = residual

    def forward(self, image: Tensor) -> Tensor:
        h = F.silu(self.stem(image)).flatten(2).transpose(1, 2)
        n = self.norm(h)
        query = self.query(n).reshape(36, 2, 4).transpose(0, 1)
        key, value = (
            one.reshape(36, 2, 4).transpose(0, 1) for one in self.both(n).chunk(2, dim=-1)
        )
        read = torch.bmm(torch.softmax(torch.bmm(query, key.transpose(1, 2)), -1), value)
        made: Tensor = self.out(read.transpose(0, 1).reshape(1, 36, 8))
        return made + n if self.residual else made


def test_attention_folds_its_norm_into_all_readers_and_its_values_into_the_last() -> None:
    norm, values = found(Attention(residual=False))
    assert (norm.weight, set(norm.readers)) == ("norm.weight", {"query.weight", "both.weight"})
    assert (values.weight, set(values.readers)) == ("both.weight", {"out.weight"})
    assert values.free_C.tolist() == [False] * 8 + [True] * 8  # keys meet a softmax
    assert values.readers["out.weight"].tolist() == list(range(8, 16))


def test_a_norm_that_is_also_added_is_left_alone() -> None:
    assert [fold.weight for fold in found(Attention(residual=True))] == ["both.weight"]


class Steps(nn.Module):
    """Two steps that share a pair of layers; in one of them something else may read, too."""

    def __init__(self, stranger: bool) -> None:
        super().__init__()
        self.one, self.two, self.stranger = nn.Linear(8, 8), nn.Linear(8, 8), stranger

    def forward(self, image: Tensor) -> Tensor:
        h = F.silu(self.two(F.relu(self.one(image))))
        second = F.tanh(self.one(h)) if self.stranger else F.relu(self.one(h))
        made: Tensor = self.two(second)
        return made


def test_steps_that_share_layers_fold_together_or_not_at_all() -> None:
    (fold,) = found(Steps(stranger=False))
    assert (fold.weight, list(fold.readers)) == ("one.weight", ["two.weight"])
    assert found(Steps(stranger=True)) == ()


def test_a_network_of_silus_and_sums_has_nothing_to_fold() -> None:
    assert found(network()) == ()
