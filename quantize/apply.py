"""Recipe, ranges and a captured program -> a quantized program (torchao's PT2E flow)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import RequestError
from minuet.quantize.calibrate import INPUT, OUTPUT, Ranges
from minuet.quantize.layers import Call, calls
from minuet.quantize.palettes import palettize
from minuet.quantize.recipe import FLOAT, INT8, PALETTES, Recipe, check_scheme
from minuet.quantize.scales import HIGH, LOW, SMALLEST, SYMMETRIC_HIGH, Affine, affine, symmetric

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What one target's kernels make of int8."""

    int8_linear: bool  # whether linear layers compute in int8; if not, only their weights are
    weights_alone: bool  # whether an int8 weight beside float activations is understood
    one_reader: bool = False  # whether an int8 answer may be read in one place only
    zero_points: bool = True  # whether a zero point other than 0 is understood


FORMS = {
    # onnxruntime computes a linear layer in int8 only where its answer is int8 as well: that gains
    # 2 % of an animation and costs 3 dB (measured). int8 weights alone it unfolds at load.
    "onnx": Form(int8_linear=False, weights_alone=True),
    # XNNPACK takes a layer as int8 from int8 to int8, or as float with float weights. Where an int8
    # answer is read twice, once transposed, executorch 1.4 loses the transposition: the file lowers
    # and loads, and then its answer is noise, or it stops ("Attempted to resize a static tensor").
    "executorch": Form(int8_linear=True, weights_alone=False, one_reader=True),
}


def quantize_program(
    exported: ExportedProgram,
    inputs: Sequence[Tensor],
    recipe: Recipe,
    ranges: Ranges,
    target: str,
) -> ExportedProgram:
    """Put quantize-dequantize pairs around the convolutions and linear layers of a program.

    Weights become int8, one scale an output channel; a layer that several steps share is still
    stored once. Activations get the recipe's ranges. What is neither convolution nor linear
    layer (attention's products, norms, flow, sampling) stays float, as do the layers that the
    recipe keeps.

    Args:
        exported: captured with torch.export; not changed.
        inputs: one example of each input, in order.
        target: a row of FORMS.

    Raises:
        RequestError: a target without a form, or ranges of another program.
    """
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    check_scheme(recipe.scheme, (target,))
    found = calls(exported.module())
    strangers = sorted({call.layer for call in found} - set(recipe.layers))
    if strangers:
        raise RequestError(f"the recipe does not know the layer {strangers[0]}; quantize again.")
    form = FORMS[target]
    codes = activation_codes(computed(found, recipe, form), ranges, form)
    packed = frozenset(call.key for call in found if _packed(call, recipe, form))
    with torch.no_grad():
        prepared = prepare_pt2e(exported.module(), _annotator(codes, packed))
        prepared(*inputs)  # the weights' observers look at the weights
        converted = convert_pt2e(prepared)
        return torch.export.export(converted, tuple(inputs), strict=False)


def palettized_program(exported: ExportedProgram, recipe: Recipe) -> ExportedProgram:
    """The program with every weight that the recipe names taken from a palette.

    It computes as before, with weights of few different numbers: an exporter can keep those as
    codes and a table, and loses nothing more.

    Raises:
        RequestError: the program has not a layer of the recipe.
    """
    import copy

    import torch

    weights = dict(exported.state_dict)
    for layer, treatment in recipe.layers.items():
        name = f"{layer}.weight"
        if name not in weights:
            raise RequestError(f"the program has no layer {layer!r}; quantize again.")
        if treatment in PALETTES:
            found = palettize(weights[name].numpy(), PALETTES[treatment])
            weights[name] = torch.nn.Parameter(torch.from_numpy(found.unpack()), False)
    made = copy.copy(exported)
    made._state_dict = weights  # there is no public way to change weights and keep the graph
    return made


def computed(found: Sequence[Call], recipe: Recipe, form: Form) -> tuple[Call, ...]:
    """The calls whose arithmetic is int8 on a target."""
    kinds = ("conv2d", "linear") if form.int8_linear else ("conv2d",)
    return tuple(
        call
        for call in found
        if recipe.layers[call.layer] == INT8
        and call.kind in kinds
        and not (form.one_reader and len(call.node.users) > 1)
    )


def _packed(call: Call, recipe: Recipe, form: Form) -> bool:
    """Whether a call's weight is int8 on a target."""
    if form.weights_alone:
        return recipe.layers[call.layer] != FLOAT
    return bool(computed((call,), recipe, form))


def activation_codes(chosen: Iterable[Call], ranges: Ranges, form: Form) -> dict[str, Affine]:
    """The code of every chosen call's input and output, by range name.

    Raises:
        RequestError: a call that was not calibrated, as in a program of more steps.
    """
    make = affine if form.zero_points else symmetric
    names = [f"{call.key}.{end}" for call in chosen for end in (INPUT, OUTPUT)]
    missing = [name for name in names if name not in ranges]
    if missing:
        raise RequestError(
            f"the ranges know nothing of {missing[0]} (and {len(missing) - 1} more); the program "
            "has other layers or more steps than the calibrated one: quantize again."
        )
    return {name: make(*ranges[name]) for name in names}


def _annotator(codes: Mapping[str, Affine], packed: AbstractSet[str]) -> Any:
    """A torchao quantizer that asks for exactly these codes, and for int8 weights."""
    from torchao.quantization.pt2e.quantizer import Quantizer
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    class Annotator(Quantizer):  # type: ignore[misc]
        def annotate(self, model: Any) -> Any:
            for call in calls(model):
                if call.key in packed:
                    call.node.meta[Q_ANNOTATION_KEY] = _annotation(call, codes)
            return model

        def validate(self, model: Any) -> None:
            """Nothing to refuse: every annotation is ours."""

    return Annotator()


def _annotation(call: Call, codes: Mapping[str, Affine]) -> Any:
    """int8 for a call's weight, and for its input and output where they have codes."""
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation

    values, weight = call.node.args[:2]
    given, made = (codes.get(f"{call.key}.{end}") for end in (INPUT, OUTPUT))
    return QuantizationAnnotation(
        input_qspec_map={weight: _weight()} | ({values: _activation(given)} if given else {}),
        output_qspec=_activation(made) if made else None,
        _annotated=True,
    )


def _weight() -> Any:
    """As scales.pack has it."""
    import torch
    from torchao.quantization.pt2e.observer import PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantizer import QuantizationSpec

    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=-SYMMETRIC_HIGH,
        quant_max=SYMMETRIC_HIGH,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=SMALLEST),
    )


def _activation(code: Affine) -> Any:
    """As scales.encode has it."""
    import torch
    from torchao.quantization.pt2e.quantizer import FixedQParamsQuantizationSpec

    return FixedQParamsQuantizationSpec(
        dtype=torch.int8,
        scale=code.scale,
        zero_point=code.zero_point,
        quant_min=LOW,
        quant_max=HIGH,
        qscheme=torch.per_tensor_affine,
    )
