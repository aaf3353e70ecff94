"""Recipe, ranges and a captured program -> a quantized program (torchao's PT2E flow)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minuet.contracts.errors import RequestError
from minuet.contracts.tensors import Array, Arrays
from minuet.quantize.calibrate import INPUT, OUTPUT, Ranges
from minuet.quantize.groups import pack4, pack8, pack_palette
from minuet.quantize.layers import Call, calls
from minuet.quantize.palettes import palettize
from minuet.quantize.recipe import FLOAT, INT8, PALETTES, WEIGHTS4, Recipe
from minuet.quantize.scales import HIGH, LOW, SMALLEST, SYMMETRIC_HIGH, Affine, affine, symmetric
from minuet.quantize.schemes import check_scheme

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
    answers: bool = True  # whether what a layer computes in int8 leaves it as int8
    weights: bool = True  # whether weights become int8 here, or are left to the file's finish


FORMS = {
    # onnxruntime computes a linear layer in int8 only where its answer is int8 as well: that gains
    # 2 % of an animation and costs 3 dB (measured). int8 weights alone it unfolds at load.
    "onnx": Form(int8_linear=False, weights_alone=True),
    # XNNPACK takes a layer as int8 from int8 to int8, or as float with float weights. Where an int8
    # answer is read twice, once transposed, executorch 1.4 loses the transposition: the file lowers
    # and loads, and then its answer is noise, or it stops ("Attempted to resize a static tensor").
    "executorch": Form(int8_linear=True, weights_alone=False, one_reader=True),
    # Core ML computes in int8 what stands between pairs of quantize and dequantize, before and
    # behind (coremltools 9, insert_prefix_quantize_dequantize_pair); its own tools know no zero
    # points for activations, though the operation has them.
    "coreml": Form(int8_linear=True, weights_alone=True, zero_points=False),
    # TensorRT takes an int8 product to float inside the kernel, and the next reader's rounding in
    # it again: an answer rounded for nobody would cost 1.6 dB of the shipped student. A zero point
    # other than 0 its parser refuses ("Non-zero zero point is not supported").
    "tensorrt": Form(int8_linear=True, weights_alone=True, zero_points=False, answers=False),
}
# Programs in int8 that minuet.quantize.onnx_w8a16 and onnx_fp8 take further once they are files.
FINISHED = {
    ("w8a16", "onnx"): Form(int8_linear=True, weights_alone=True),
    ("fp8", "tensorrt"): Form(
        int8_linear=True, weights_alone=False, zero_points=False, answers=False, weights=False
    ),
}


def form_of(scheme: str, target: str) -> Form:
    """What a target's kernels make of a calibrated scheme.

    Raises:
        RequestError: the scheme is not made for it.
    """
    check_scheme(scheme, (target,))
    return FINISHED.get((scheme, target)) or FORMS[target]


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

    form = form_of(recipe.scheme, target)
    found = calls(exported.module())
    strangers = sorted({call.layer for call in found} - set(recipe.layers))
    if strangers:
        raise RequestError(f"the recipe does not know the layer {strangers[0]}; quantize again.")
    exported = changed_program(exported, _in_groups(exported, recipe))
    codes = activation_codes(computed(found, recipe.layers, form), ranges, form)
    coded = frozenset(call.key for call in found if packed(call, recipe.layers, form))
    with torch.no_grad():
        prepared = prepare_pt2e(exported.module(), annotator(codes, coded, weight_spec()))
        prepared(*inputs)  # the weights' observers look at the weights
        converted = convert_pt2e(prepared)
        return torch.export.export(converted, tuple(inputs), strict=False)


def rounded_program(exported: ExportedProgram, recipe: Recipe) -> ExportedProgram:
    """The program with every weight that the recipe names rounded to what its codes can say.

    It computes as before, in float: an exporter finds the codes again in the numbers, stores those,
    and loses nothing more. Linear layers that are to compute in int8 by the ranges of the moment
    are found by their weights, too.

    Raises:
        RequestError: the program has not a layer of the recipe.
    """
    state, made = exported.state_dict, dict[str, Array]()
    for layer, word in recipe.layers.items():
        if (name := f"{layer}.weight") not in state:
            raise RequestError(f"the program has no layer {layer!r}; quantize again.")
        if word != FLOAT:
            made[name] = rounded(state[name].detach().numpy(), word, recipe)
    return changed_program(exported, made)


def rounded(weight: Array, treatment: str, recipe: Recipe) -> Array:
    """A weight as a recipe means it; not one that stays float."""
    if treatment not in PALETTES:
        return (pack4 if treatment == WEIGHTS4 else pack8)(weight).unpack()
    bits = PALETTES[treatment]
    if recipe.scheme == "palettes-int8":
        return pack_palette(weight, bits).unpack()
    return palettize(weight, bits).unpack()


def _in_groups(exported: ExportedProgram, recipe: Recipe) -> dict[str, Array]:
    """The weights that int4 codes are to say, rounded so that they can."""
    names = [f"{layer}.weight" for layer, word in recipe.layers.items() if word == WEIGHTS4]
    state = exported.state_dict
    return {name: rounded(state[name].detach().numpy(), WEIGHTS4, recipe) for name in names}


def changed_program(exported: ExportedProgram, tensors: Arrays) -> ExportedProgram:
    """The program with other values in some of its parameters.

    Raises:
        RequestError: it has no such parameter, or one of another shape.
    """
    import copy

    import torch

    state = dict(exported.state_dict)
    _check_known(tensors, state)
    for name, value in tensors.items():
        if value.shape != tuple(state[name].shape):
            raise RequestError(
                f"{name} has the shape {tuple(state[name].shape)}, not {value.shape}; "
                "quantize again."
            )
        made = torch.from_numpy(np.ascontiguousarray(value)).to(state[name].dtype)
        state[name] = torch.nn.Parameter(made, False)
    changed = copy.copy(exported)
    changed._state_dict = state  # there is no public way to change weights and keep the graph
    return changed


def _check_known(names: Iterable[str], state: Mapping[str, Tensor]) -> None:
    if lost := [name for name in names if name not in state]:
        raise RequestError(f"the program has no parameter {lost[0]!r}; quantize again.")


def computed(found: Sequence[Call], layers: Mapping[str, str], form: Form) -> tuple[Call, ...]:
    """The calls whose arithmetic is int8 on a target."""
    kinds = ("conv2d", "linear") if form.int8_linear else ("conv2d",)
    return tuple(
        call
        for call in found
        if layers[call.layer] == INT8
        and call.kind in kinds
        and not (form.one_reader and len(call.node.users) > 1)
    )


def packed(call: Call, layers: Mapping[str, str], form: Form) -> bool:
    """Whether a call's weight is int8 on a target."""
    if not form.weights:
        return False
    if form.weights_alone:
        return layers[call.layer] not in (FLOAT, WEIGHTS4)  # whose codes a writer finds
    return bool(computed((call,), layers, form))


def activation_codes(chosen: Iterable[Call], ranges: Ranges, form: Form) -> dict[str, Affine]:
    """The code of every chosen call's input and output, by range name.

    Raises:
        RequestError: a call that was not calibrated, as in a program of more steps.
    """
    make = affine if form.zero_points else symmetric
    ends = (INPUT, OUTPUT) if form.answers else (INPUT,)
    names = [f"{call.key}.{end}" for call in chosen for end in ends]
    missing = [name for name in names if name not in ranges]
    if missing:
        raise RequestError(
            f"the ranges know nothing of {missing[0]} (and {len(missing) - 1} more); the program "
            "has other layers or more steps than the calibrated one: quantize again."
        )
    return {name: make(*ranges[name]) for name in names}


def annotator(codes: Mapping[str, Affine], coded: AbstractSet[str], weight: Any) -> Any:
    """A torchao quantizer that asks for exactly these codes, and for these weights in int8.

    Args:
        codes: by range name.
        coded: keys of the calls whose weights are meant.
        weight: weight_spec, or one that is like it.
    """
    from torchao.quantization.pt2e.quantizer import Quantizer
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    class Annotator(Quantizer):  # type: ignore[misc]
        def annotate(self, model: Any) -> Any:
            for call in calls(model):
                if call.key in coded or f"{call.key}.{INPUT}" in codes:
                    found = _annotation(call, codes, weight if call.key in coded else None)
                    call.node.meta[Q_ANNOTATION_KEY] = found
            return model

        def validate(self, model: Any) -> None:
            """Nothing to refuse: every annotation is ours."""

    return Annotator()


def _annotation(call: Call, codes: Mapping[str, Affine], spec: Any) -> Any:
    """int8 for a call's weight, and for its input and output where they have codes."""
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation

    values, weight = call.node.args[:2]
    given, made = (codes.get(f"{call.key}.{end}") for end in (INPUT, OUTPUT))
    return QuantizationAnnotation(
        input_qspec_map=({weight: spec} if spec else {})
        | ({values: _activation(given)} if given else {}),
        output_qspec=_activation(made) if made else None,
        _annotated=True,
    )


def weight_spec() -> Any:
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
