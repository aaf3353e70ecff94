"""Flow, gate and paint over the user's own pixels, at any size: fields + sticker -> frames.

The composite generator of vid2vid (Wang et al. 2018, arXiv 1808.06601, eq. 4) as the clean-clip
estimate of flow matching: x0 = gate * warp(sticker, flow) + (1 - gate) * paint. Its flow is a few
affine motions shared out by soft part masks (in the manner of Siarohin et al. 2021, arXiv
2104.11280), plus a small dense remainder: a face then turns as one piece, and the edge of an arm
stays sharp when masks made at 64 px are enlarged to 512.
"""

# Shapes: B clips, T frames, N = B * T, K parts, C = 4 premultiplied RGBA channels in [0, 1],
# H rows, W columns. Flow is backward and in normalised coordinates: where in the sticker the pixel
# of a frame comes from, (-1, -1) the upper left corner of the canvas, (1, 1) the lower right.

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F

LOGIT_BOUND = 8.0  # exp(8) * 12 parts still fits half precision
DENSE_SCALE = 0.1
GATE_LEAN = 0.5  # a doubtful pixel is moved rather than painted
GATE_SHARPNESS = 4.0  # and no pixel is much of both
PAINT_SHARPNESS = 4.0  # and no paint is half there
SHIFT = 0.21  # of a pixel: where bilinear sampling errs least; (1 - 3 ** -0.5) / 2
POWERS = (1, 2, 4, 8)
MASK_SIDE = 256  # masks are sharpened up to this size; beyond it flow is enlarged


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What the network says about each frame, before composition."""

    affine_NK6: Tensor  # backward affine of each part, row-major 2 x 3, minus the identity
    parts_NKHW: Tensor  # logits: which part a pixel belongs to
    dense_N2HW: Tensor  # a remainder of flow, before its scale
    gate_N1HW: Tensor  # logit: 1 moves the sticker's pixel, 0 paints
    paint_NCHW: Tensor  # premultiplied RGBA

    def __add__(self, other: "Fields") -> "Fields":
        return Fields(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in _NAMES})

    def __mul__(self, scale: float) -> "Fields":
        return Fields(**{f.name: getattr(self, f.name) * scale for f in _NAMES})

    def float(self) -> "Fields":
        """Every field in float32."""
        return Fields(**{f.name: getattr(self, f.name).float() for f in _NAMES})

    def to(self, device: torch.device) -> "Fields":
        """Every field on a device."""
        return Fields(**{f.name: getattr(self, f.name).to(device) for f in _NAMES})


_NAMES = fields(Fields)


def grid(side: int) -> Tensor:
    """Normalised coordinates (x, y, 1) of pixel centres: (3, side, side)."""
    line = (torch.arange(side) * 2 + 1) / side - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)])


def lines(side: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The same coordinates as two lines, x (side) and y (side, 1), which broadcast.

    In an exported file a line of 512 numbers is 2 KiB, and the grid 3 MiB.
    """
    x = ((torch.arange(side) * 2 + 1) / side - 1).to(like)
    return x, x[:, None]


def bounded(logits: Tensor) -> Tensor:
    """Logits kept where exp() stays inside half precision."""
    return logits.clamp(-LOGIT_BOUND, LOGIT_BOUND)


def part_weights(parts_NKHW: Tensor) -> Tensor:
    """Unnormalised part masks: exp of bounded logits."""
    return torch.exp(bounded(parts_NKHW))


def flow_from_parts(affine_NK6: Tensor, weights_NKHW: Tensor) -> Tensor:
    """Each pixel's mixture of affine motions -> displacement (N, 2, H, W).

    One small matrix product yields the six mixed coefficients and their normaliser together.
    """
    n, k, h, w = weights_NKHW.shape
    table = torch.cat([affine_NK6, torch.ones_like(affine_NK6[:, :, :1])], dim=2)
    mixed = torch.bmm(table.transpose(1, 2), weights_NKHW.reshape(n, k, h * w))
    mixed = mixed.reshape(n, 7, h, w)
    by_x, by_y, shift = (mixed[:, :6] / mixed[:, 6:7]).reshape(n, 2, 3, h, w).unbind(2)
    x, y = lines(h, mixed)
    return by_x * x + by_y * y + shift


def enlarge(x_NCHW: Tensor, side: int) -> Tensor:
    """Bilinear enlargement between pixel centres; nothing where the size is right."""
    if x_NCHW.shape[-1] == side:
        return x_NCHW
    return F.interpolate(x_NCHW, size=(side, side), mode="bilinear", align_corners=False)


def mask_flow(fields_: Fields, side: int) -> Tensor:
    """Backward flow (N, 2, side, side), made at that very size."""
    weights = part_weights(enlarge(fields_.parts_NKHW, side))
    flow = flow_from_parts(fields_.affine_NK6, weights)
    return flow + enlarge(fields_.dense_N2HW, side) * DENSE_SCALE


def total_flow(fields_: Fields, side: int) -> Tensor:
    """Backward flow (N, 2, side, side) of the fields at a size."""
    return enlarge(mask_flow(fields_, min(side, MASK_SIDE)), side)


def decided(fields_: Fields) -> Fields:
    """The same fields with gate and paint there or not there: for the frames that people see.

    Trained to the mean of what might be, a half-open gate lays paint over the moved pixel, and
    half-transparent paint hangs where a limb was: haze around whatever moves. The gate's logits
    are shifted by GATE_LEAN and multiplied by GATE_SHARPNESS, the paint's alpha by PAINT_SHARPNESS
    about its middle.
    """
    gate = (fields_.gate_N1HW + GATE_LEAN) * GATE_SHARPNESS
    alpha = fields_.paint_NCHW[:, -1:]
    sharp = ((alpha - 0.5) * PAINT_SHARPNESS + 0.5).clamp(0.0, 1.0)
    paint = fields_.paint_NCHW * (sharp / alpha.clamp(min=0.1))
    return replace(fields_, gate_N1HW=gate, paint_NCHW=paint)


def later(fields_: Fields) -> Fields:
    """The fields of one clip without those of its first frame, which is given."""
    return Fields(**{f.name: getattr(fields_, f.name)[1:] for f in _NAMES})


def warp(image_NCHW: Tensor, flow_N2HW: Tensor) -> Tensor:
    """Move pixels: bilinear sampling at each pixel's source; outside the canvas is transparent.

    Jaderberg et al. 2015 (arXiv 1506.02025), sec. 3.3. Premultiplied colour, or edges darken.
    """
    x, y = lines(flow_N2HW.shape[-1], flow_N2HW)
    across = torch.stack([x, torch.zeros_like(x)])[:, None, :]
    down = torch.stack([torch.zeros_like(y), y])
    place_NHW2 = (flow_N2HW + across + down).permute(0, 2, 3, 1)
    return F.grid_sample(image_NCHW, place_NHW2, padding_mode="zeros", align_corners=False)


def crisp(image_NCHW: Tensor) -> Tensor:
    """The image that `warp_crisp` samples: each pixel less what sampling will blur into it.

    Blu, Thevenaz and Unser 2004 (Linear interpolation revitalized, IEEE TIP 13, 5): the
    recursion c[k] = (f[k] - tau c[k-1]) / (1 - tau) along rows and columns, from nothing. Written
    out, it is the product of 1 + r^n z^n with r = tau / (tau - 1) and n in POWERS; r^16 is nothing.
    """
    ratio = SHIFT / (SHIFT - 1)
    for power in POWERS:
        across = F.pad(image_NCHW, (power, 0, 0, 0))[..., :-power]
        image_NCHW = image_NCHW + across * ratio**power
    for power in POWERS:
        down = F.pad(image_NCHW, (0, 0, power, 0))[..., :-power, :]
        image_NCHW = image_NCHW + down * ratio**power
    return image_NCHW * (1 - SHIFT) ** -2


def warp_crisp(crisp_NCHW: Tensor, flow_N2HW: Tensor) -> Tensor:
    """`warp` of the image that `crisp` was made of, without the blur of bilinear sampling.

    As cheap, for it is bilinear sampling a fifth of a pixel aside, and with a filter that runs once
    a sticker, not once a frame. Of the true motions at 128 px it keeps 0.91 of the edges' energy;
    bilinear sampling kept 0.73, bicubic 0.87. No motion gives the image itself.
    """
    return warp(crisp_NCHW, flow_N2HW - 2 * SHIFT / crisp_NCHW.shape[-1])


def compose(
    sticker_BCHW: Tensor, fields_: Fields, frames: int, flow_N2HW: Tensor | None = None
) -> Tensor:
    """Fields made at any size over a sticker of any size -> frames (N, C, H, W), premultiplied.

    The total flow may be handed in by who has it already.
    """
    side = sticker_BCHW.shape[-1]
    b, c, h, w = sticker_BCHW.shape
    once = crisp(sticker_BCHW)[:, None]
    repeated = once.expand(b, frames, c, h, w).reshape(b * frames, c, h, w)
    moved = warp_crisp(repeated, total_flow(fields_, side) if flow_N2HW is None else flow_N2HW)
    gate = torch.sigmoid(enlarge(fields_.gate_N1HW, min(side, MASK_SIDE)))
    gate = enlarge(gate, side)
    paint = enlarge(fields_.paint_NCHW, side)
    return gate * moved + (1 - gate) * paint


def render(image_1CSS: Tensor, sticker_1CSS: Tensor, fields_: Fields) -> Tensor:
    """One clip's fields over its sticker -> uint8 frames (T, C, S, S), straight alpha.

    The frames that `compose` and `unpremultiply` give, in the form that runtimes run fastest: the
    first one is the image itself, colours are in 0..255 from the start, and what is enlarged alike
    is enlarged as one tensor. OpenVINO takes as long for one channel as for eight: a tensor for
    each field took it 1.63 times as long at 512 px, and ONNX Runtime 0.94 times (one core).

    Args:
        image_1CSS: the sticker as it was given, straight alpha, in [0, 1].
        sticker_1CSS: the same, premultiplied.
        fields_: of all T frames, at the working size.
    """
    side = image_1CSS.shape[-1]
    shares = enlarge(shares_of(later(fields_), min(side, MASK_SIDE)), side)
    flow, gate, paint = shares.split([2, 1, image_1CSS.shape[1]], dim=1)
    repeated = crisp(sticker_1CSS * 255).expand(flow.shape[0], -1, -1, -1)
    mixed = gate * warp_crisp(repeated, flow) + paint
    is_colour = torch.tensor([1.0, 1.0, 1.0, 0.0]).to(mixed).reshape(1, -1, 1, 1)
    # Not "* is_colour + (1 - is_colour)": coremltools 9 makes a batch norm of one channel of that.
    straight = (255 / mixed[:, 3:4].clamp(0.5, 255.0) - 1) * is_colour + 1
    frames = torch.cat([image_1CSS * 255, mixed * straight], dim=0)
    return (frames.clamp(0.0, 255.0) + 0.5).to(torch.uint8)


def shares_of(fields_: Fields, side: int) -> Tensor:
    """Fields -> flow, gate in [0, 1] and the paint that it lets through, in 0..255.

    One tensor (N, 2 + 1 + C, side, side).
    """
    each = (fields_.parts_NKHW, fields_.dense_N2HW, fields_.gate_N1HW, fields_.paint_NCHW)
    together = enlarge(torch.cat(each, dim=1), side)
    parts, dense, gate, paint = together.split([one.shape[1] for one in each], dim=1)
    flow = flow_from_parts(fields_.affine_NK6, part_weights(parts)) + dense * DENSE_SCALE
    gate = torch.sigmoid(gate)
    return torch.cat([flow, gate, (1 - gate) * (paint * 255)], dim=1)


def premultiply(image_NCHW: Tensor) -> Tensor:
    """Straight alpha -> premultiplied; [0, 1] both."""
    alpha = image_NCHW[:, 3:4]
    return torch.cat([image_NCHW[:, :3] * alpha, alpha], dim=1)


def unpremultiply(image_NCHW: Tensor) -> Tensor:
    """Premultiplied -> straight alpha; colour under full transparency comes out black."""
    image = image_NCHW.clamp(0.0, 1.0)
    alpha = image[:, 3:4]
    colour = (image[:, :3] / alpha.clamp(min=1.0 / 512.0)).clamp(0.0, 1.0)
    return torch.cat([colour, alpha], dim=1)
