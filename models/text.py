"""Caption -> tokens -> embedding."""

# Shapes: B clips, L tokens, D token width.

import torch
from torch import Tensor, nn

from minuet.models.layers import Attention, FeedForward

PADDING = 0


class CaptionEncoder(nn.Module):
    """A small transformer over a closed vocabulary.

    Empty captions are legal: padding is a learned token of its own, and the unconditional branch
    of guidance is the caption of padding alone.
    """

    def __init__(self, vocabulary: int, length: int, width: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=0.5)
        self.blocks = nn.ModuleList([Attention(width, 4, length) for _ in range(depth)])
        self.mlps = nn.ModuleList([FeedForward(width) for _ in range(depth)])

    def forward(self, tokens_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, L) int32 -> the embedding of each token (B, L, D) and their mean (B, D)."""
        x = self.embed(tokens_BL)
        for attention, mlp in zip(self.blocks, self.mlps, strict=True):
            x = attention(x)
            x = x + mlp(x)
        known_BL1 = (tokens_BL != PADDING).to(x.dtype)[:, :, None]
        mean = (x * known_BL1).sum(1) / (known_BL1.sum(1) + 1e-3)
        return x, mean


def unconditional(tokens_BL: Tensor) -> Tensor:
    """The caption that says nothing, in the shape of another."""
    return torch.full_like(tokens_BL, PADDING)
