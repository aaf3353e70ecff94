"""Processes that train together: each answers for its shares of a batch, all take one step.

Alone needs nothing but torch. Launched is what `accelerate launch` started: it says on which
devices, at which precision, and whether weights are copied (DDP) or sharded (FSDP2).
"""

import functools
import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from minuet.contracts.errors import MissingBackendError, RequestError

LAUNCHED = ("ACCELERATE_MIXED_PRECISION", "LOCAL_RANK")  # a launcher sets one of these or both
MESSAGE_BYTES = 8192  # named losses of a step: thrice as much as any method here has
PATIENCE = timedelta(days=7)  # the others wait while one renders a world

Answer = tuple[Tensor, Mapping[str, Tensor]]  # a loss, and its parts by name
Question = Callable[[nn.Module, Any, torch.Generator], Answer]


class Asked(nn.Module):
    """Networks as one module whose forward pass is a question: what wraps it sees all of it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, question: Question, lesson: Any, rng: torch.Generator) -> Answer:
        """The question's loss and its parts; whatever method of the network it calls."""
        return question(self.network, lesson, rng)


class Fleet(Protocol):
    """The processes that train together, as one of them sees them."""

    rank: int
    world: int
    accumulate: int  # shares of a batch that this process answers for, unless a run says otherwise
    sharded: bool  # each process holds a part of every weight
    device: torch.device
    scaler: Any  # of fp16's losses; None at other precisions

    def spread(self, asked: Asked) -> nn.Module:
        """The module that all of them train as one."""
        ...

    def unsynced(self, module: nn.Module) -> AbstractContextManager[None]:
        """While gradients are only added up here."""
        ...

    def answering(self) -> AbstractContextManager[None]:
        """Where the forward pass runs at the launched precision."""
        ...

    def clipped(self, parameters: Iterable[Tensor], limit: float) -> Tensor:
        """Scale all gradients to a norm of at most `limit`; the norm before."""
        ...

    def told(self, value: Any) -> list[Any]:
        """What every process tells all others, in order: a little JSON."""
        ...

    def gathered(self, row: Tensor) -> Tensor:
        """Every process's row, in order (world, ...)."""
        ...

    def first(self) -> AbstractContextManager[None]:
        """The main process goes through this block before all others do."""
        ...

    def wait(self) -> None:
        """Until all are here."""
        ...


class Alone:
    """One process."""

    rank, world, accumulate, sharded = 0, 1, 1, False
    scaler: Any = None

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    def spread(self, asked: Asked) -> nn.Module:
        """The module as it is."""
        return asked

    def unsynced(self, module: nn.Module) -> AbstractContextManager[None]:
        """Nothing to hold back."""
        return nullcontext()

    def answering(self) -> AbstractContextManager[None]:
        """At the objective's own precision."""
        return nullcontext()

    def clipped(self, parameters: Iterable[Tensor], limit: float) -> Tensor:
        """Scale all gradients to a norm of at most `limit`; the norm before."""
        return nn.utils.clip_grad_norm_(parameters, limit)

    def told(self, value: Any) -> list[Any]:
        """What this one tells."""
        return [value]

    def gathered(self, row: Tensor) -> Tensor:
        """The one row."""
        return row[None]

    def first(self) -> AbstractContextManager[None]:
        """There is nobody else."""
        return nullcontext()

    def wait(self) -> None:
        """There is nobody to wait for."""


class Launched:
    """One of the processes of `accelerate launch`."""

    def __init__(self) -> None:
        try:
            from accelerate import Accelerator
            from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
        except ImportError as error:
            raise MissingBackendError(
                "this was launched as one of several processes, which needs accelerate: "
                "pip install 'minuet[distill]'."
            ) from error
        # An objective may leave weights out of a step; what does not change need not be sent.
        wrapping = DistributedDataParallelKwargs(
            find_unused_parameters=True, broadcast_buffers=False, gradient_as_bucket_view=True
        )
        try:
            patience = InitProcessGroupKwargs(timeout=PATIENCE)
            self._accelerator = Accelerator(kwargs_handlers=[wrapping, patience])
        except (ValueError, RuntimeError) as error:
            raise RequestError(f"accelerate cannot start as it was configured: {error}") from error
        self.rank, self.world = self._accelerator.process_index, self._accelerator.num_processes
        self.accumulate = self._accelerator.gradient_accumulation_steps
        self.sharded = self.world > 1 and os.environ.get("ACCELERATE_USE_FSDP") == "true"
        self.device, self.scaler = self._accelerator.device, self._accelerator.scaler

    def spread(self, asked: Asked) -> nn.Module:
        """DDP's copies or FSDP2's shards, all of them as the main process has them."""
        if not self.sharded:
            module: nn.Module = self._accelerator.prepare_model(asked)
            self._accelerator.free_memory()  # else it holds every network that it ever prepared
            return module
        asked.to(self.device)
        loose = [value for value in asked.parameters() if not value.ndim]
        with torch.no_grad():
            for value in (*asked.parameters(), *asked.buffers()):
                torch.distributed.broadcast(value, 0)
        return _sharded(asked, self.world, set(loose))

    @contextmanager
    def unsynced(self, module: nn.Module) -> Generator[None]:
        """While gradients are only added up here."""
        if not self.sharded:
            with self._accelerator.no_sync(module):
                yield
            return
        module.set_requires_gradient_sync(False)  # type: ignore[operator]
        yield
        module.set_requires_gradient_sync(True)  # type: ignore[operator]

    def answering(self) -> AbstractContextManager[None]:
        """At the precision that was launched."""
        found: AbstractContextManager[None] = self._accelerator.autocast()
        return found

    def clipped(self, parameters: Iterable[Tensor], limit: float) -> Tensor:
        """Scale all gradients to a norm of at most `limit`; the norm before."""
        if not self.sharded:
            return nn.utils.clip_grad_norm_(parameters, limit)
        loose: list[Tensor] = []
        shards: list[Tensor] = []
        for value in parameters:
            if value.grad is not None:
                (shards if hasattr(value, "to_local") else loose).append(local(value.grad))
        for grad in loose:
            grad.copy_(self._mean(grad))
        squares = torch.stack([grad.double().square().sum() for grad in shards]).sum()
        total = self._mean(squares) * self.world
        for grad in loose:
            total = total + grad.double().square()
        norm: Tensor = total.sqrt().float()
        torch._foreach_mul_([*shards, *loose], (limit / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        total: Tensor = values.detach().clone()
        torch.distributed.all_reduce(total)
        return total.div_(self.world)

    def told(self, value: Any) -> list[Any]:
        """What every process tells all others, in order: a little JSON."""
        data = json.dumps(value).encode().ljust(MESSAGE_BYTES)
        assert len(data) == MESSAGE_BYTES, f"{len(data)} bytes are more than a little"
        rows = self.gathered(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        return [json.loads(row.numpy().tobytes()) for row in rows]

    def gathered(self, row: Tensor) -> Tensor:
        """Every process's row, in order (world, ...)."""
        found = [torch.empty_like(row, device=self.device) for _ in range(self.world)]
        if self.world == 1:
            return row[None]
        torch.distributed.all_gather(found, row.to(self.device))
        return torch.stack(found).cpu()

    def first(self) -> AbstractContextManager[None]:
        """The main process goes through this block before all others do."""
        found: AbstractContextManager[None] = self._accelerator.main_process_first()
        return found

    def wait(self) -> None:
        """Until all are here."""
        self._accelerator.wait_for_everyone()


@functools.cache
def fleet() -> Fleet:
    """Who trains here: the launched processes, or this one alone.

    Raises:
        MissingBackendError: launched as one of several, and accelerate is not installed.
    """
    return Launched() if any(name in os.environ for name in LAUNCHED) else Alone()


def insist_whole(on: Fleet, what: str) -> None:
    """Refuse what asks the average of the weights while it trains, where nobody holds all of it.

    Raises:
        RequestError: each process holds a part of every weight.
    """
    if on.sharded:
        raise RequestError(
            f"{what} asks the average network while it trains, which shards (FSDP2) do not keep "
            "whole; launch copies (DDP) instead."
        )


def insist_divisible(on: Fleet, batch: int, shares: int, what: str = "") -> None:
    """Refuse a batch that cannot be cut into so many equal shares, as many for each process.

    Args:
        what: the training whose batch it is.

    Raises:
        RequestError: shares that processes cannot divide, or a batch that shares cannot.
    """
    whose = f"{what}: " if what else ""
    if shares % on.world:
        raise RequestError(
            f"{whose}a batch is cut into {shares} shares here, which {on.world} processes cannot "
            f"divide; launch a number of processes that divides {shares}."
        )
    if batch % shares:
        raise RequestError(
            f"{whose}a batch of {batch} cannot be cut into {shares} equal shares ({on.world} "
            f"processes with {shares // on.world} each); choose a batch that {shares} divides."
        )


def least_shares(on: Fleet, shares: int) -> int:
    """Into how many shares a training cuts its batches that asks for so many."""
    return max(shares, on.world * on.accumulate)


def share(count: int, rank: int, world: int) -> range:
    """Which of `count` things are this process's: whole, without overlap, sizes one apart."""
    return range(count * rank // world, count * (rank + 1) // world)


def local(value: Tensor) -> Tensor:
    """What this process holds of a tensor: all of it, or its shard."""
    found: Tensor = value.to_local() if hasattr(value, "to_local") else value
    return found


def gathered(value: Tensor) -> Tensor:
    """All of a tensor, its shards put together. All processes ask, or none."""
    found: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return found


def rows(value: Tensor, rank: int, world: int) -> tuple[int, int]:
    """The first row that this process holds of a sharded tensor, and the one after its last.

    FSDP2 cuts the first axis as torch.chunk does: all shards are equal but those at the end.
    """
    each = -(-value.shape[0] // world)
    return min(rank * each, value.shape[0]), min((rank + 1) * each, value.shape[0])


def blocks(network: nn.Module) -> list[nn.Module]:
    """The repeated parts of a network: what stands in its lists and has weights to share out."""
    found: list[nn.Module] = []
    for child in network.children():
        listed = isinstance(network, nn.ModuleList)
        if not listed or isinstance(child, nn.ModuleList | nn.ModuleDict):
            found += blocks(child)
        elif any(value.ndim for value in child.parameters()):
            found.append(child)
    return found


def recomputing(network: nn.Module) -> None:
    """Let every block keep its inputs alone, and compute the rest again in the backward pass.

    Chen et al. 2016 (arXiv 1604.06174), sec. 4: memory for a third more arithmetic.
    """
    from torch.utils.checkpoint import checkpoint

    for block in blocks(network):
        again = functools.partial(checkpoint, block.forward, use_reentrant=False)
        block.forward = again


def placed(lesson: Any, device: torch.device) -> Any:
    """A lesson with its tensors on a device."""
    if isinstance(lesson, Tensor):
        return lesson.to(device, non_blocking=True)
    if isinstance(lesson, Mapping):
        return {name: placed(value, device) for name, value in lesson.items()}
    if is_dataclass(lesson) and not isinstance(lesson, type):
        told = {one.name: placed(getattr(lesson, one.name), device) for one in fields(lesson)}
        return replace(lesson, **told)
    return lesson


def _sharded(asked: Asked, world: int, loose: set[nn.Parameter]) -> nn.Module:
    """Every repeated block a group of its own, gathered while it works; the rest one group."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = next(asked.parameters()).device.type
    mesh = init_device_mesh(device, (world,))
    for block in blocks(asked):
        fully_shard(block, mesh=mesh, ignored_params=loose)
    fully_shard(asked, mesh=mesh, ignored_params=loose)
    return asked
