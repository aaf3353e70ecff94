"""Arrays of known clips -> a batch to learn from: frames, parts, motions, what was visible."""

# Shapes: B clips, T frames, N = B * T, K parts, C = 4 premultiplied RGBA in [0, 1], H, W, L tokens.

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from minuet.models.compose import grid

BORDER = 2  # pixels around the sticker that must move with it, or halos appear


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Clips with the truth about them."""

    clean_NCHW: Tensor
    part_NHW: Tensor  # uint8: the nearest part of every pixel
    mask_NHW: Tensor  # 1 on the sticker and its border
    affine_NK6: Tensor  # backward, minus the identity
    tokens_BL: Tensor
    noise_B: Tensor  # int64: the number of the noise a clip began with; -1 if it began with none
    anatomy_BV: Tensor  # landmarks (x, y), size, traits 0 or 1; (B, 0) where it is not known
    frames: int
    truth_B: Tensor | None = None  # bool: whether parts and motions are known; None: of every clip

    @property
    def clips(self) -> int:
        """How many clips there are."""
        return len(self.tokens_BL)

    @property
    def sticker_BCHW(self) -> Tensor:
        """The first frame of each clip."""
        shape = (self.clips, self.frames, *self.clean_NCHW.shape[1:])
        return self.clean_NCHW.reshape(shape)[:, 0]

    @property
    def clip_BTCHW(self) -> Tensor:
        """The clips as the denoiser sees them, in [-1, 1]."""
        shape = (self.clips, self.frames, *self.clean_NCHW.shape[1:])
        return self.clean_NCHW.reshape(shape) * 2 - 1

    @property
    def x0(self) -> Tensor:
        """The clips as any method of distillation asks for them."""
        return self.clip_BTCHW

    @property
    def condition(self) -> dict[str, Tensor]:
        """What a denoiser is told of each clip."""
        return {"sticker": self.sticker_BCHW, "tokens": self.tokens_BL}

    @property
    def flow_N2HW(self) -> Tensor:
        """Exact backward displacement: each pixel by its part's motion."""
        side = self.clean_NCHW.shape[-1]
        n, h, w = self.part_NHW.shape
        index = self.part_NHW.reshape(n, h * w, 1).long().expand(-1, -1, 6)
        theta = torch.gather(self.affine_NK6, 1, index).reshape(n, h, w, 2, 3)
        grid_HW3 = grid(side).to(theta).permute(1, 2, 0)
        return (theta * grid_HW3[None, :, :, None]).sum(-1).permute(0, 3, 1, 2)

    @property
    def near_NHW(self) -> Tensor:
        """Weight of each pixel: 1 on the sticker and just around it, little far away."""
        k = 2 * BORDER + 1
        grown = F.max_pool2d(self.mask_NHW[:, None], k, stride=1, padding=BORDER)[:, 0]
        return grown * 0.95 + 0.05

    @property
    def known_N11(self) -> Tensor:
        """1 where parts and motions of a frame are known, else 0."""
        if self.truth_B is None:
            return self.clean_NCHW.new_ones(len(self.clean_NCHW), 1, 1)
        return self.truth_B.float().repeat_interleave(self.frames)[:, None, None]

    @property
    def taught_NHW(self) -> Tensor:
        """Weight of each pixel's part and motion: as near as it is, if they are known."""
        return self.near_NHW * self.known_N11

    def visible_NHW(self, flow_N2HW: Tensor) -> Tensor:
        """1 where the pixel's source shows the same part in the first frame, else 0.

        Background counts as visible where its source is background.
        """
        b, t = self.clips, self.frames
        side = self.clean_NCHW.shape[-1]
        place = (grid(side)[:2].to(flow_N2HW) + flow_N2HW).permute(0, 2, 3, 1)
        part = self.part_NHW.reshape(b, t, side, side)[:, :1].expand(b, t, side, side)
        mask = self.mask_NHW.reshape(b, t, side, side)[:, :1].expand(b, t, side, side)
        seen = torch.stack([part.float() + 1, mask.float()], dim=2).reshape(b * t, 2, side, side)
        seen = F.grid_sample(seen, place, mode="nearest", align_corners=False)
        same_part = seen[:, 0] == self.part_NHW.float() + 1
        was_sticker = seen[:, 1] > 0.5
        is_sticker = self.mask_NHW > 0.5
        return torch.where(is_sticker, same_part & was_sticker, ~was_sticker).float()


def batch_from_arrays(
    frames: Tensor,
    part: Tensor,
    mask: Tensor,
    affine: Tensor,
    tokens: Tensor,
    noise: Tensor,
    anatomy: Tensor,
    truth: Tensor | None = None,
) -> Batch:
    """Stored arrays -> a batch.

    frames (B, T, H, W, 4) uint8 straight alpha; part (B, T, H, W) uint8; mask the same, bool;
    affine (B, T, K, 2, 3) float32 backward maps; tokens (B, L) int32; noise (B,) int64;
    anatomy (B, V) float32; truth (B,) uint8, 0 where part and affine say nothing.
    """
    b, t, h, w, _ = frames.shape
    rgba = frames.reshape(b * t, h, w, 4).permute(0, 3, 1, 2).float() / 255
    alpha = rgba[:, 3:4]
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    return Batch(
        clean_NCHW=torch.cat([rgba[:, :3] * alpha, alpha], dim=1),
        part_NHW=part.reshape(b * t, h, w),
        mask_NHW=mask.reshape(b * t, h, w).float(),
        affine_NK6=affine.reshape(b * t, -1, 6).float() - identity,
        tokens_BL=tokens,
        noise_B=noise,
        anatomy_BV=anatomy,
        frames=t,
        truth_B=None if truth is None else truth.bool(),
    )
