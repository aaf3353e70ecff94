"""Networks, their optimiser and their average, whole or in shards: what steps change."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minuet.distill.checkpoint import Checkpoint
from minuet.distill.scale import Asked, Fleet, gathered, local

MOMENTS = ["exp_avg", "exp_avg_sq", "step"]  # AdamW's, of each parameter


class Learner:
    """Networks that learn, as all processes train them together."""

    def __init__(
        self, network: nn.Module, on: Fleet, rate: float, betas: tuple[float, float], decay: float
    ) -> None:
        self.network, self.on = network, on
        self.module = on.spread(Asked(network))
        self.named = dict(network.named_parameters())
        self.optimizer = _adamw(self.named.values(), rate, betas, decay)

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss, scaled where fp16 would lose them."""
        scaled: Tensor = self.on.scaler.scale(loss) if self.on.scaler else loss
        scaled.backward()

    def clipped(self, limit: float) -> Tensor:
        """Gradients of all shares with a norm of at most `limit`; the norm before."""
        if self.on.scaler:
            self.on.scaler.unscale_(self.optimizer)
        return self.on.clipped(self.named.values(), limit)

    def advance(self) -> None:
        """One step, which fp16's scaler leaves out where a gradient overflowed."""
        if self.on.scaler is None:
            self.optimizer.step()
            return
        self.on.scaler.step(self.optimizer)
        self.on.scaler.update()

    def tensors(self, weights: str, moments: str) -> dict[str, Tensor]:
        """Weights and moments by name, below these prefixes."""
        found = {f"{weights}.{name}": value for name, value in self.network.state_dict().items()}
        return found | {
            f"{moments}.{name}.{key}": value
            for name, parameter in self.named.items()
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }

    def restore(self, found: Checkpoint, weights: str, moments: str, *, stepped: bool) -> None:
        """What `tensors` gave, in its place. A parameter no step has reached has no moments."""
        fill(found, weights, self.network.state_dict(), self.on)
        if stepped and not found.names(f"{moments}."):
            raise KeyError(f"no {moments}")
        for name, parameter in self.named.items():
            prefix = f"{moments}.{name}."
            known = sorted(key.removeprefix(prefix) for key in found.names(prefix))
            if known and known != MOMENTS:
                raise KeyError(f"of the moments of {name} there are {known}")
            if known:
                self.optimizer.state[parameter] = self._moments(found, prefix, parameter)

    def _moments(self, found: Checkpoint, prefix: str, parameter: Tensor) -> dict[str, Tensor]:
        """In their parameter's memory layout: the fused optimiser walks both as raw memory."""
        state = {key: torch.empty_like(parameter.detach()) for key in MOMENTS[:2]}
        for key, value in state.items():
            found.into(prefix + key, value, self.on)
        state["step"] = found.read(f"{prefix}step").to(local(parameter).device)
        return state


class Average:
    """The moving average of a learner's weights, in shards where those are."""

    def __init__(self, module: nn.Module, learner: Learner, on: Fleet) -> None:
        self.module, self._learner = module, learner
        if on.sharded:
            named = learner.named.items()
            self.kept = {name: value.detach().clone() for name, value in named}
        else:
            self.kept = dict(module.to(on.device).named_parameters())

    def follow(self, decay: float) -> None:
        """Move towards the weights: average = decay average + (1 - decay) weights."""
        kept = [local(value) for value in self.kept.values()]
        new = [local(value.detach()) for value in self._learner.named.values()]
        with torch.no_grad():
            torch._foreach_lerp_(kept, new, 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """Weights and buffers."""
        return self.module.state_dict() | self.kept

    def whole(self) -> nn.Module:
        """The module, with all shards put together in it. All processes ask, or none."""
        for name, value in self.module.named_parameters():
            if value is not self.kept[name]:
                value.data.copy_(gathered(self.kept[name]))
        return self.module


def fill(found: Checkpoint, prefix: str, state: Mapping[str, Tensor], on: Fleet) -> None:
    """Weights and buffers from a checkpoint: all that are there, and no others."""
    there = {name.removeprefix(f"{prefix}.") for name in found.names(f"{prefix}.")}
    if strange := there ^ set(state):
        raise KeyError(f"{prefix}.{min(strange)} is only in one of the two")
    for name, value in state.items():
        found.into(f"{prefix}.{name}", value, on)


def _adamw(
    parameters: Iterable[Tensor], rate: float, betas: tuple[float, float], decay: float
) -> torch.optim.AdamW:
    """One group of whole tensors and one of shards, of which no operation takes both."""
    every = list(parameters)
    whole = [one for one in every if not hasattr(one, "to_local")]
    shards = [one for one in every if hasattr(one, "to_local")]
    groups: list[dict[str, Any]] = [{"params": some} for some in (whole, shards) if some]
    return torch.optim.AdamW(groups, rate, betas=betas, weight_decay=decay, fused=True)
