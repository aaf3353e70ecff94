"""Bricks that every target can run: factorised convolution and attention, rank at most 5."""

# Shapes: B clips, T frames, N = B * T frames folded into the batch, C channels, H rows, W columns,
# L tokens, D token width, E conditioning width.

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel (Ba et al. 2016, arXiv 1607.06450).

    The permutes are free in channels-last memory, and the operator exports everywhere.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NHWC = x_NCHW.permute(0, 2, 3, 1)
        x_NHWC = F.layer_norm(x_NHWC, self.weight.shape, self.weight, self.bias)
        return x_NHWC.permute(0, 3, 1, 2)


class TemporalConv(nn.Module):
    """A three-frame convolution around the loop, the temporal half of a pseudo-3-D convolution.

    Singer et al. 2022 (arXiv 2209.14792), sec. 3.2, with two departures: time is circular, because
    stickers loop, and it is written as concatenation and a 1x1 convolution, because every target
    runs that fast. Starts at zero, so a spatial network stays what it was.
    """

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.norm = ChannelNorm(channels)
        self.mix = nn.Conv2d(3 * channels, channels, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]

    def forward(self, x_NCHW: Tensor) -> Tensor:
        n, c, h, w = x_NCHW.shape
        y_BTCHW = F.silu(self.norm(x_NCHW)).reshape(n // self.frames, self.frames, c, h, w)
        before = torch.cat([y_BTCHW[:, -1:], y_BTCHW[:, :-1]], dim=1)
        after = torch.cat([y_BTCHW[:, 1:], y_BTCHW[:, :1]], dim=1)
        three = torch.cat([before, y_BTCHW, after], dim=2).reshape(n, 3 * c, h, w)
        y: Tensor = x_NCHW + self.mix(three)
        return y


class ResBlock(nn.Module):
    """Two spatial convolutions around a residual; conditioned by scale and shift (FiLM).

    He et al. 2016 (arXiv 1603.05027), pre-activation; Perez et al. 2018 (arXiv 1709.07871), eq. 2,
    with 1 + scale for gamma, so that zero weights change nothing.
    With frames > 1 a temporal convolution follows: together a pseudo-3-D block.
    """

    def __init__(self, c_in: int, c_out: int, film: int = 0, frames: int = 1) -> None:
        super().__init__()
        self.norm_in = ChannelNorm(c_in)
        self.conv_in = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.film = nn.Linear(film, 2 * c_out) if film else None
        self.norm_out = ChannelNorm(c_out)
        self.conv_out = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        self.temporal = TemporalConv(c_out, frames) if frames > 1 else nn.Identity()
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    @property
    def inner(self) -> int:
        """Channels between the two convolutions: I."""
        return self.conv_in.out_channels

    @property
    def ends(self) -> tuple[nn.Conv2d, nn.Conv2d]:
        """The two convolutions."""
        return self.conv_in, self.conv_out

    def channels(self) -> Tensor:
        """The weights that feed each inner channel and those that hear it: (I, X)."""
        first, last = self.ends
        assert first.bias is not None
        heard_IY = last.weight.transpose(0, 1).flatten(1)
        return torch.cat([first.weight.flatten(1), first.bias[:, None], heard_IY], dim=1)

    def narrow(self, kept_I: Tensor) -> None:
        """Keep these inner channels alone."""
        both = torch.cat([kept_I, kept_I + self.inner])
        narrow_(self.conv_in, kept_I, out=True)
        narrow_(self.norm_out, kept_I)
        narrow_(self.conv_out, kept_I, out=False)
        if self.film is not None:
            narrow_(self.film, both, out=True)

    def forward(self, x_NCHW: Tensor, film_NE: Tensor | None = None) -> Tensor:
        h = self.norm_out(self.conv_in(F.silu(self.norm_in(x_NCHW))))
        if self.film is not None and film_NE is not None:
            scale, shift = self.film(film_NE)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        y: Tensor = self.temporal(self.skip(x_NCHW) + self.conv_out(F.silu(h)))
        return y


class FeedForward(nn.Sequential):
    """Normalise, widen, bend, narrow: what follows attention in a transformer."""

    def __init__(self, width: int) -> None:
        last = nn.Linear(2 * width, width)
        nn.init.zeros_(last.weight)
        super().__init__(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), last)

    @property
    def inner(self) -> int:
        """Channels between the two layers: I."""
        return self.ends[0].out_features

    @property
    def ends(self) -> tuple[nn.Linear, nn.Linear]:
        """The layer that widens and the one that narrows."""
        _, first, _, last = self
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        return first, last

    def channels(self) -> Tensor:
        """The weights that feed each inner channel and those that hear it: (I, X)."""
        first, last = self.ends
        return torch.cat([first.weight, first.bias[:, None], last.weight.T], dim=1)

    def narrow(self, kept_I: Tensor) -> None:
        """Keep these inner channels alone."""
        first, last = self.ends
        narrow_(first, kept_I, out=True)
        narrow_(last, kept_I, out=False)


def narrow_(layer: nn.Module, kept: Tensor, out: bool = True) -> None:
    """Keep some of a layer's outputs, or of its inputs."""
    axis = 0 if out else 1
    for name, value in list(layer.named_parameters(recurse=False)):
        if value.ndim > axis:
            setattr(layer, name, nn.Parameter(value.detach().index_select(axis, kept)))
    for name in ("out_channels", "out_features") if out else ("in_channels", "in_features"):
        if hasattr(layer, name):
            setattr(layer, name, len(kept))


def attend(q_BND: Tensor, k_BMD: Tensor, v_BMD: Tensor, heads: int) -> Tensor:
    """Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762, eq. 1) without its scale.

    The scale lives in the initialisation of the query projection. Written with `bmm`: the fused
    operator decomposes into a masked softmax that ExecuTorch does not delegate (127 ms -> 64 ms).
    """
    b, n, d = q_BND.shape
    m = k_BMD.shape[1]

    def split(x: Tensor, length: int) -> Tensor:
        x = x.reshape(b, length, heads, d // heads).permute(0, 2, 1, 3)
        return x.reshape(b * heads, length, d // heads)

    weights = torch.softmax(torch.bmm(split(q_BND, n), split(k_BMD, m).transpose(1, 2)), dim=-1)
    y = torch.bmm(weights, split(v_BMD, m))
    return y.reshape(b, heads, n, d // heads).permute(0, 2, 1, 3).reshape(b, n, d)


class Attention(nn.Module):
    """Residual self-attention; further keys and values (the caption's) may join.

    The joining keys are projected once a clip and repeated over the frames only afterwards
    (delayed temporal expansion).
    """

    def __init__(self, channels: int, heads: int, tokens: int, text: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.place = nn.Parameter(torch.randn(1, tokens, channels) * 0.02)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.text = nn.Linear(text, 2 * channels) if text else None
        self.out = nn.Linear(channels, channels)
        with torch.no_grad():
            self.query.weight.mul_((channels // heads) ** -0.5)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_BND: Tensor, text_BLD: Tensor | None = None) -> Tensor:
        y = self.norm(x_BND) + self.place
        key, value = self.key_value(y).chunk(2, dim=-1)
        if self.text is not None and text_BLD is not None:
            joined = self.text(text_BLD)
            repeats = x_BND.shape[0] // joined.shape[0]
            if repeats > 1:
                joined = joined.repeat_interleave(repeats, dim=0)
            text_key, text_value = joined.chunk(2, dim=-1)
            key, value = torch.cat([key, text_key], 1), torch.cat([value, text_value], 1)
        seen: Tensor = self.out(attend(self.query(y), key, value, self.heads))
        return x_BND + seen


class SpaceTimeAttention(nn.Module):
    """Attention within each frame, then along each pixel's time: factorised space-time attention.

    Bertasius et al. 2021 (arXiv 2102.05095), sec. 3, "divided" attention, here space before time.
    """

    def __init__(self, channels: int, heads: int, side: int, frames: int, text: int) -> None:
        super().__init__()
        self.frames = frames
        self.space = Attention(channels, heads, side * side, text)
        self.time = Attention(channels, heads, frames)

    def forward(self, x_NCHW: Tensor, text_BLD: Tensor) -> Tensor:
        n, c, h, w = x_NCHW.shape
        t, b, s = self.frames, n // self.frames, h * w
        x = self.space(x_NCHW.permute(0, 2, 3, 1).reshape(n, s, c), text_BLD)
        x = x.reshape(b, t, s, c).permute(0, 2, 1, 3).reshape(b * s, t, c)
        y: Tensor = self.time(x).reshape(b, s, t, c).permute(0, 2, 1, 3)
        return y.reshape(n, h, w, c).permute(0, 3, 1, 2)


class Frequencies(nn.Module):
    """A noise level in [0, 1] -> sines and cosines; the frequencies are a buffer.

    Computed in the graph, `exp(arange)` differs between targets by 5e-5 (measured); a buffer
    does not.
    """

    freqs: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        freqs = torch.exp(-torch.linspace(0, 1, half) * 6.0)
        self.register_buffer("freqs", freqs * 100.0, persistent=False)

    def forward(self, t_B: Tensor) -> Tensor:
        angles = t_B[:, None] * self.freqs[None, :]
        return torch.cat([angles.sin(), angles.cos()], dim=1)
