"""Core ML package -> what is known to go wrong or slowly in it, each with its place and its cure.

Only what is written down somewhere is listed, and each row says where; no engine was run here.
What depends on values (float16 overflow) is found by running: minuet.runtimes.mil.ranges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.hazard import Hazard, gathered
from minuet.export.quiet import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MODEL = "Data/com.apple.CoreML/model.mlmodel"
FP16, FP32, INT32 = 10, 11, 23  # MIL.proto's DataType
LONGEST = 16384  # rows or columns of a tensor on the engine
INDEXED = 65536  # what a uint16 index reaches
OFF_ENGINE = "kept off the Neural Engine"
UNITS = ("all", "cpuAndNeuralEngine", "cpuAndGPU", "cpuOnly")  # MLComputeUnits
CAST = re.compile(r"(_cast_fp(16|32))+$")  # what the converter appends to a node's name

ENGINE_GUIDE = "ane-guide.readthedocs.io, chapters 4 and 17, measured there on M1 to M5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An operation as the rules see it: types by argument, types of results, who reads it."""

    kind: str
    name: str
    inputs: dict[str, tuple[int, tuple[int, ...]]]  # argument -> element type, sizes (0: unknown)
    outputs: tuple[tuple[int, tuple[int, ...]], ...]
    readers: tuple[str, ...]  # the kinds of the operations that read its results
    free: bool = False  # whether the function takes several sizes

    @property
    def half(self) -> bool:
        """Whether it computes in float16, as everything on the engine does."""
        return any(kind == FP16 for kind, _ in self.outputs)

    def hazard(self, what: str, fix: str, source: str) -> Hazard:
        """A hazard at this place."""
        return Hazard(place=self.name, op=self.kind, what=what, fix=fix, source=source)


Rule = Callable[[Step], Hazard | None]


def hazards(package: Path, modules: Mapping[str, str] | None = None) -> tuple[Hazard, ...]:
    """What is known about a saved package, hazards of one kind gathered.

    Args:
        package: a saved .mlpackage.
        modules: a program's node -> its module (see modules_of), to say whose an operation is.

    Raises:
        DamagedError: not an ML Program.
    """
    model = _read(package / MODEL)
    found = [list(_found(one)) for one in model.mlProgram.functions.values()]
    return owned(_merged([list(_flexible(model)), *found]), modules or {})


def _found(function: Any) -> Iterator[Hazard]:
    blocks = function.block_specializations.values()
    steps = [step for block in blocks for step in _steps(function, block)]
    yield from (one for rule in RULES for step in steps if (one := rule(step)))


def _merged(functions: Iterable[list[Hazard]]) -> tuple[Hazard, ...]:
    """Functions are one network at several sizes: what is in all of them is counted once."""
    found: dict[tuple[str, str], Hazard] = {}
    for one in (one for rows in functions for one in gathered(rows)):
        before = found.setdefault((one.op, one.what), one)
        found[one.op, one.what] = max(before, one, key=lambda hazard: hazard.count)
    return tuple(found.values())


def owned(found: Iterable[Hazard], modules: Mapping[str, str]) -> tuple[Hazard, ...]:
    """Hazards with the modules that their places came from."""
    return tuple(
        replace(one, module=modules.get(one.place) or modules.get(CAST.sub("", one.place), ""))
        for one in found
    )


def modules_of(exported: ExportedProgram) -> dict[str, str]:
    """Each node's module; coremltools calls an operation by its node."""
    stacks = {
        n.name: list((n.meta.get("nn_module_stack") or {}).values()) for n in exported.graph.nodes
    }
    return {name: str(stack[-1][0]) for name, stack in stacks.items() if stack}


def insist_units(units: str, precision: str) -> None:
    """Refuse compute units that there are not, or that cannot run the precision.

    Raises:
        RequestError: which ones there are, or what fits.
    """
    if units and units not in UNITS:
        raise RequestError(
            f"compute units {units!r} are not known; choose from {', '.join(UNITS)}."
        )
    if units == "cpuAndNeuralEngine" and precision == "fp32":
        raise RequestError(
            f"the Neural Engine computes in float16 only, so {units} would run {precision} on the "
            "CPU: choose fp16, or cpuAndGPU."
        )


def compute_units(found: Iterable[Hazard], precision: str, units: str = "") -> dict[str, str]:
    """Which units the host that loads the model is to ask for, why, and what they will miss."""
    off = sorted(f"{one.op} x{one.count}" for one in found if OFF_ENGINE in one.what)
    if precision == "fp32":
        why = "the Neural Engine computes in float16 only"
        return {"units": units or "cpuAndGPU", "units_why": why}
    return {"units": units or "all", **({"off_neural_engine": ", ".join(off)} if off else {})}


def soft_cliffs(step: Step) -> Hazard | None:
    """Softplus, alone or inside Mish."""
    if not step.half or step.kind not in ("softplus", "softplus_parametric"):
        return None
    mish = "tanh" in step.readers
    return step.hazard(
        f"{'mish is softplus, which' if mish else 'softplus'} drops to 0 from about 10.4 on",
        "write max(x, 0) + log(1 + exp(-|x|)), as this exporter does for torch's",
        f"apple/coremltools issue {'2359, 2687' if mish else '2687'}",
    )


def log_sum_exp(step: Step) -> Hazard | None:
    """Overflows inside."""
    if not step.half or step.kind != "reduce_log_sum_exp":
        return None
    return step.hazard(
        "the sum of exponentials overflows: over 32 channels the result drops to 0 from 7.63 on",
        "take the largest out first: m + log(sum(exp(x - m)))",
        "apple/coremltools issue 2690",
    )


def deep(step: Step) -> Hazard | None:
    """Rank above 5."""
    if all(len(sizes) <= 5 for _, sizes in step.outputs):
        return None
    return step.hazard(
        "a tensor of rank above 5 is refused by Core ML",
        "fold axes that are neighbours before and after",
        "coremltools 9.0, its own check",
    )


def single_precision(step: Step) -> Hazard | None:
    """Work in float32."""
    working = ("conv", "conv_transpose", "linear", "matmul", "scaled_dot_product_attention")
    if step.kind not in working or step.half or step.outputs[0][0] != FP32:
        return None
    return step.hazard(
        f"float32 work is {OFF_ENGINE}, which computes in float16",
        "export in fp16 if parity allows it",
        "coremltools guide, typed execution",
    )


def volumes(step: Step) -> Hazard | None:
    """Convolution over three axes."""
    if step.kind not in ("conv", "conv_transpose") or len(step.outputs[0][1]) != 5:
        return None
    return step.hazard(
        f"a convolution over three axes is {OFF_ENGINE}, and before iOS 17 off the GPU",
        "use one over rows and columns and one over frames",
        f"apple/coremltools issue 1368; {ENGINE_GUIDE}",
    )


def sampled(step: Step) -> Hazard | None:
    """Resampling, the place or the precision."""
    if step.kind != "resample":
        return None
    if step.inputs.get("coordinates", (0, ()))[0] == FP16:
        return step.hazard(
            "float16 coordinates miss by up to an eighth of a pixel at 512",
            "keep the operations that place samples in float32",
            "a step next to 1 is 2^-11; apple/coremltools issue 2068",
        )
    return step.hazard(
        f"resampling is {OFF_ENGINE} and the GPU",
        "resample outside the model, or accept the CPU for it",
        "apple/coremltools issue 1875",
    )


def scattered(step: Step) -> Hazard | None:
    """Operations without a way to the engine."""
    recurrent = step.kind in ("gru", "lstm", "rnn")
    if not recurrent and step.kind not in (
        "reduce_prod",
        "scatter",
        "scatter_along_axis",
        "scatter_nd",
    ):
        return None
    return step.hazard(
        f"{step.kind} is {OFF_ENGINE}",
        "unroll it into products" if recurrent else "use concat, select or a sum of masks",
        "apple/coremltools issue 1780" if recurrent else ENGINE_GUIDE,
    )


def far_gathers(step: Step) -> Hazard | None:
    """Look-ups by indices that 16 bits do not hold."""
    _, sizes = step.inputs.get("x", (0, ()))
    if not step.kind.startswith("gather") or not sizes or max(sizes) < INDEXED:
        return None
    return step.hazard(
        f"indices into {max(sizes)} rows need int32, which is {OFF_ENGINE}",
        "look it up outside the model, or split the table below 65536 rows",
        "coremltools 9.0, pass add_int16_cast",
    )


def long_axes(step: Step) -> Hazard | None:
    """Rows or columns beyond the engine's."""
    sizes = [n for _, shape in step.outputs for n in shape[-2:]]
    if not step.half or max(sizes, default=0) <= LONGEST:
        return None
    return step.hazard(
        f"a row or column of more than {LONGEST} elements is {OFF_ENGINE}",
        "split the axis, or attend in windows",
        ENGINE_GUIDE,
    )


def unknown_sizes(step: Step) -> Hazard | None:
    """A size that depends on values, where it begins."""
    begins = all(0 not in sizes for _, sizes in step.inputs.values())
    if step.free or not begins or all(0 not in sizes for _, sizes in step.outputs):
        return None
    return step.hazard(
        f"a size that is known only when it runs is {OFF_ENGINE}",
        "compute on a fixed size, and mask what is not wanted",
        "apple/coremltools issue 1764",
    )


RULES: tuple[Rule, ...] = (
    unknown_sizes,
    soft_cliffs,
    log_sum_exp,
    deep,
    sampled,
    volumes,
    scattered,
    far_gathers,
    long_axes,
    single_precision,
)


def _flexible(model: Any) -> Iterator[Hazard]:
    """Inputs of more than one size."""
    functions = list(model.description.functions)
    ports = [one for f in functions for one in f.input] or list(model.description.input)
    for one in ports:
        kind = one.type.multiArrayType.WhichOneof("ShapeFlexibility")
        if kind in FLEXIBLE:
            what, fix, source = FLEXIBLE[kind]
            yield Hazard(place=one.name, op="input", what=what, fix=fix, source=source)


FLEXIBLE = {
    "shapeRange": (
        f"with a range of sizes all but the default one are {OFF_ENGINE}",
        "enumerate the sizes, or give each a function of its own",
        "an Apple engineer, developer.apple.com/forums/thread/724930; coremltools issue 2370",
    ),
    "enumeratedShapes": (
        "calls with enumerated sizes were reported to fail, or to use the default one unsaid",
        "try every size on a device, or give each a function of its own (iOS 18)",
        "apple/coremltools issue 2730",
    ),
}


def _read(path: Path) -> Any:
    with quiet():
        from coremltools.proto.Model_pb2 import Model
    model = Model()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:
        raise DamagedError(f"{path}: not a readable model ({error}); export again.") from error
    if model.WhichOneof("Type") != "mlProgram":
        raise DamagedError(f"{path}: holds no ML Program; export again.")
    return model


def _steps(function: Any, block: Any) -> Iterator[Step]:
    types = {one.name: _type(one.type) for one in function.inputs}
    free = any(0 in sizes for _, sizes in types.values())
    operations = list(_walk(block))
    types |= {one.name: _type(one.type) for inner in _blocks(operations) for one in inner.inputs}
    readers: dict[str, list[str]] = {}
    for op in operations:
        types |= {one.name: _type(one.type) for one in op.outputs}
        for argument in op.inputs.values():
            for one in argument.arguments:
                readers.setdefault(one.name, []).append(op.type)
    for op in operations:
        if op.type == "const" or not op.outputs:
            continue
        first = {n: a.arguments[0].name for n, a in op.inputs.items() if a.arguments}
        yield Step(
            kind=op.type,
            name=op.outputs[0].name,
            inputs={n: types[name] for n, name in first.items() if name in types},
            outputs=tuple(_type(one.type) for one in op.outputs),
            readers=tuple(kind for one in op.outputs for kind in readers.get(one.name, ())),
            free=free,
        )


def _walk(block: Any) -> Iterator[Any]:
    """Every operation, those inside conditions and loops included."""
    for op in block.operations:
        yield op
        for inner in op.blocks:
            yield from _walk(inner)


def _blocks(operations: Iterable[Any]) -> Iterator[Any]:
    return (inner for op in operations for inner in op.blocks)


def _type(spec: Any) -> tuple[int, tuple[int, ...]]:
    tensor = spec.tensorType
    return tensor.dataType, tuple(int(one.constant.size) for one in tensor.dimensions)
