"""The sticker's parts, found once and carried along by their motions, as in a paper puppet."""

# Shapes: B clips, T frames, N = B * T, K parts, H = W = 64 at the working size.

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minuet.models.compose import lines

FOUND_BOUND = 4.0  # logits of a sticker's parts, so that what is in front stays below LOGIT_BOUND


class Puppet(nn.Module):
    """The sticker's part masks -> those of every frame, and whether a pixel was seen before.

    A mask drawn anew for each frame must say where a raised arm is and what it looks like in one
    step, and smears. Here a pixel asks each part whether its motion brings one of its own pixels
    there; solid pixels count more than transparent ones, parts in front more than those behind,
    and what the network says of that frame is added.
    """

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.front = nn.Parameter(torch.zeros(parts))
        self.solid = nn.Parameter(torch.tensor(2.0))
        self.seen = nn.Parameter(torch.tensor(2.0))

    def forward(
        self, found_BKHW: Tensor, parts_NKHW: Tensor, affine_NK6: Tensor, alpha_B1HW: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Part logits (N, K, H, W), and a gate's logit (N, 1, H, W) to add to the network's own.

        Args:
            found_BKHW: logits of the sticker's parts.
            parts_NKHW: logits that the network adds, frame by frame.
            affine_NK6: backward motions, minus the identity.
            alpha_B1HW: of the sticker.

        The motions are taken as they are: masks teach the network where parts lie, labels and
        frames teach it how they move.
        """
        b, k, h, _ = found_BKHW.shape
        found = found_BKHW.clamp(-FOUND_BOUND, FOUND_BOUND)
        rank = alpha_B1HW * (self.solid + self.front.reshape(1, k, 1, 1))
        places = _places(affine_NK6.detach(), b, h)
        logits = parts_NKHW + _carried(found + rank, places)
        was = _carried(torch.softmax(found.detach(), dim=1), places)
        seen = (torch.softmax(logits, dim=1) * was).sum(1, keepdim=True)
        return logits, self.seen * (2 * seen - 1)


def _places(affine_NK6: Tensor, clips: int, side: int) -> Tensor:
    """Backward affines minus the identity -> where each pixel comes from (B * K, T * H, W, 2).

    A clip's frames lie one below another, so that a mask is read by all of them and copied by none.
    """
    n, k, _ = affine_NK6.shape
    affine = affine_NK6.reshape(clips, n // clips, k, 6).transpose(1, 2)
    by_x, by_y, shift = affine.reshape(-1, 2, 3, 1, 1).unbind(2)
    x, y = lines(side, affine_NK6)
    flow_x, flow_y = (by_x * x + by_y * y + shift).unbind(1)
    places = torch.stack([flow_x + x, flow_y + y], dim=-1)
    return places.reshape(clips * k, -1, side, 2)


def _carried(masks_BKHW: Tensor, places: Tensor) -> Tensor:
    """Each part's map, read at its own places (N, K, H, W)."""
    b, k, h, w = masks_BKHW.shape
    one_a_part = masks_BKHW.reshape(b * k, 1, h, w)
    moved = F.grid_sample(one_a_part, places, padding_mode="border", align_corners=False)
    return moved.reshape(b, k, -1, h, w).transpose(1, 2).reshape(-1, k, h, w)
