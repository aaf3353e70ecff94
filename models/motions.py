"""Words, a frame's number and what is seen -> one affine motion a part a frame."""

# Shapes: B clips, T frames, N = B * T, K parts, C channels, Q the coarse grid, E width of the
# conditioning, S of the script, L tokens, V = 2 M + 2 lengths of M landmarks.

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.models.anatomy import Anatomy
from minuet.models.text import PADDING


class PartMotions(nn.Module):
    """Coarse features and words -> one affine motion a part a frame, by a learned query a part.

    `told` is the way around the U-Net for what the caption, frame number and noise level say.
    """

    def __init__(self, channels: int, parts: int, film: int) -> None:
        super().__init__()
        self.parts = parts
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Parameter(torch.randn(parts, channels) * channels**-0.5)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.hidden = nn.Linear(2 * channels, channels)
        self.whole = nn.Linear(channels, 6)
        self.each = nn.Parameter(torch.zeros(parts, channels, 6))
        last = nn.Linear(channels, 6 * parts)
        self.told = nn.Sequential(nn.Linear(film, channels), nn.SiLU(), last)
        for linear in (self.whole, last):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x_NCQQ: Tensor, film_NE: Tensor) -> Tensor:
        n, c, h, w = x_NCQQ.shape
        x = self.norm(x_NCQQ.permute(0, 2, 3, 1).reshape(n, h * w, c))
        key, value = self.key_value(x).chunk(2, dim=-1)
        weights = torch.softmax(torch.matmul(self.query, key.transpose(1, 2)), dim=-1)
        seen_NKC = torch.matmul(weights, value)
        mean = x.mean(1, keepdim=True)
        whole_N1C = torch.cat([mean, value.mean(1, keepdim=True)], dim=2)
        both = torch.cat([mean.expand(n, self.parts, c), seen_NKC], dim=2)
        hidden_KNC = F.silu(self.hidden(both)).permute(1, 0, 2)
        each = torch.bmm(hidden_KNC, self.each).permute(1, 0, 2)
        told = self.told(film_NE).reshape(n, self.parts, 6)
        together: Tensor = self.whole(F.silu(self.hidden(whole_N1C))) + each + told
        return together


class Script(nn.Module):
    """Words and a frame's number -> how the parts move, whatever the sticker looks like.

    The short way from "left" to a motion. Through the U-Net alone, left and right stayed one motion
    for 14 000 clips: which way a sticker turns is a product of two words, and the caption's mean
    holds it at a tenth of the strength of what the sticker does. Here every word counts in full.

    A turn about a joint at q shifts by q - R q: linear in q, and its matrix is the words' alone.
    So with landmarks the words say matrices, and the sticker says where its joints are.
    """

    def __init__(
        self,
        width: int,
        *,
        vocabulary: int,
        frames: int,
        parts: int,
        film: int,
        landmarks: int = 0,
        traits: int = 0,
    ) -> None:
        super().__init__()
        self.parts, self.landmarks = parts, landmarks
        self.embed = nn.Embedding(vocabulary, width)
        self.frame = nn.Parameter(torch.randn(frames, width))
        self.body = nn.Sequential(
            *(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width), nn.SiLU())
        )
        self.open = nn.Linear(film, 2 * width)
        self.traits = nn.Linear(traits, width, bias=False) if landmarks else None
        each = 4 + 2 * (2 * landmarks + 2) if landmarks else 6
        self.out = nn.Linear(2 * width, each * parts)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def words(self, tokens_BL: Tensor) -> Tensor:
        """The sum of the caption's words (B, S)."""
        known_BL1 = (tokens_BL != PADDING).to(self.frame.dtype)[:, :, None]
        words: Tensor = (self.embed(tokens_BL) * known_BL1).sum(1)
        return words

    def forward(self, words_BS: Tensor, film_NE: Tensor, anatomy: Anatomy | None) -> Tensor:
        """Motions (N, K, 6), as far as the noise level, in the FiLM vector, lets them through."""
        if self.traits is not None and anatomy is not None:
            words_BS = words_BS + self.traits(torch.sigmoid(anatomy.traits_BJ))
        x = (words_BS[:, None] + self.frame[None]).reshape(len(film_NE), -1)
        told: Tensor = self.out(self.body(x) * torch.sigmoid(self.open(film_NE)))
        if anatomy is None:
            return told.reshape(-1, self.parts, 6)
        return self._about_joints(told, anatomy.lengths_BV)

    def _about_joints(self, told_NO: Tensor, lengths_BV: Tensor) -> Tensor:
        """Turns and stretches as they are told; shifts by the sticker's own lengths."""
        (b, v), n = lengths_BV.shape, len(told_NO)
        turn_NK4, by_length = told_NO.reshape(n, self.parts, 4 + 2 * v).split([4, 2 * v], dim=2)
        by_length = by_length.reshape(b, -1, v)
        shift = torch.bmm(by_length, lengths_BV[:, :, None]).reshape(n, self.parts, 2)
        a, c = turn_NK4.split(2, dim=2)
        x, y = shift.split(1, dim=2)
        return torch.cat([a, x, c, y], dim=2)
