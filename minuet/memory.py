"""Networks, a batch and devices -> what each device must hold, copied (DDP) or sharded (FSDP2).

Weights, gradients, AdamW's two moments and the average are float32, as `distill/loop.py` keeps
them; teachers and what is kept for the backward pass are of the size that they are told to be.
What the allocator wastes and the libraries hold (on CUDA about a gigabyte) is not in it.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace

FLOAT = 4  # bytes
GIB = 1 << 30
ROOM = 0.9  # of a device's memory: the rest is the libraries' and the allocator's


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One training: parameters, and what a clip leaves for the backward pass."""

    student: float  # parameters
    clip_bytes: float  # kept for the backward pass of one clip
    batch: int
    rivals: float = 0  # parameters of discriminators and fake scores together
    teachers: float = 0  # parameters of all that are asked while it trains
    teacher_bytes: int = FLOAT  # a parameter
    together: float = 0  # parameters that FSDP2 gathers at once: the largest block and the rest

    @property
    def gathered(self) -> float:
        """Parameters whole at one time; where it is not known, all of them."""
        return self.together or self.student


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Bytes on one device."""

    weights: float
    gradients: float
    moments: float
    average: float
    rivals: float  # weights, gradients and moments
    teachers: float
    gathered: float  # weights and gradients of the blocks at work, where they are sharded
    activations: float

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(astuple(self)))


def held(load: Load, devices: int, shares: int, *, sharded: bool) -> Held:
    """What one of the devices holds when a batch is cut into `shares`, computed in turn.

    FSDP2 cuts everything that is trained into as many shards as there are devices, but a block at
    work is whole, with its gradient, and the next one is fetched beside it.
    """
    cut = devices if sharded else 1
    weights = FLOAT * load.student / cut
    return Held(
        weights=weights,
        gradients=weights,
        moments=2 * weights,
        average=weights,
        rivals=4 * FLOAT * load.rivals / cut,
        teachers=load.teacher_bytes * load.teachers,
        gathered=2 * FLOAT * load.gathered if sharded and devices > 1 else 0.0,
        activations=load.clip_bytes * load.batch / shares,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to train on these devices: how many shares, and what each device then holds."""

    sharded: bool
    shares: int
    held: Held
    fits: bool


def ways(load: Load, devices: int, device_bytes: float) -> tuple[Way, Way]:
    """Copied and sharded, each with the fewest shares that fit; with the most if none do."""
    copied, sharded = (_way(load, devices, device_bytes, sharded=one) for one in (False, True))
    return copied, sharded


def _way(load: Load, devices: int, device_bytes: float, *, sharded: bool) -> Way:
    found: Way | None = None
    for shares in cuts(load.batch, devices):
        holds = held(load, devices, shares, sharded=sharded)
        fits = holds.total <= ROOM * device_bytes
        found = Way(sharded=sharded, shares=shares, held=holds, fits=fits)
        if fits:
            break
    assert found is not None
    return found


def cuts(batch: int, devices: int) -> Iterator[int]:
    """Into how many equal shares these devices can cut a batch; one each where they cannot."""
    found = [n for n in range(devices, batch + 1, devices) if batch % n == 0]
    yield from found or [devices]


def advice(load: Load, devices: int, device_bytes: float) -> list[str]:
    """What to do, in words, cheapest first."""
    if load.batch % devices:
        least = devices * -(-load.batch // devices)
        told = f"a batch of {load.batch} cannot be shared by {devices} devices: take {least}"
        return [told, *advice(replace(load, batch=least), devices, device_bytes)]
    copied, sharded = ways(load, devices, device_bytes)
    if copied.fits:
        return [f"copies fit (DDP){_accumulated(copied, devices)}"]
    if sharded.fits and devices > 1:
        return [f"copies do not fit, shards do (FSDP2){_accumulated(sharded, devices)}"]
    return list(_too_much(load, devices, device_bytes, sharded.held))


def _accumulated(way: Way, devices: int) -> str:
    each = way.shares // devices
    return f", each device taking its clips in {each} turns (shares: {way.shares})" * (each > 1)


def _too_much(load: Load, devices: int, device_bytes: float, holds: Held) -> Iterator[str]:
    """What would have to change, when nothing fits."""
    room = ROOM * device_bytes
    yield f"nothing fits: {holds.total / GIB:.1f} GiB of {room / GIB:.1f} GiB, sharded"
    if holds.activations > holds.total / 3:
        yield (
            "computing activations again in the backward pass (recompute: true) saves most of "
            + (f"{holds.activations / GIB:.1f} GiB")
        )
    if holds.teachers > holds.total / 3 and load.teacher_bytes == FLOAT:
        half = replace(load, teacher_bytes=FLOAT // 2)
        saved = holds.teachers - held(half, devices, 1, sharded=True).teachers
        yield f"teachers in bfloat16 save {saved / GIB:.1f} GiB; cached latents, all of it"
    more = next((n for n in range(devices, 4097) if _states(load, n) <= room), None)
    if more and more > devices:
        yield f"from {more} devices on, what is trained and the teachers fit"


def _states(load: Load, devices: int) -> float:
    return replace(held(load, devices, 1, sharded=True), activations=0.0).total
