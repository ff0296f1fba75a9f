"""Resizing and blurring as two small matrices per image: one mixes its rows, the other its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import torch
from torch import Tensor


class Interpolation(StrEnum):
    """How a crop is resized; antialiased in both cases, as PIL does it."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


def resample(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mixes rows and columns: [B, C, H, W], [B, H', H], [B, W', W] -> [B, C, H', W'], clamped to [0, 1].

    The clamp cuts what bicubic weights overshoot: the official code resizes 8-bit images, where nothing can overshoot.
    The small matrix stands first in both products, which is two to three times as fast on a CPU as the other way
    round, and each is written as the next reads it: the result lies channels last.
    """
    batch, channels, height, width = pixels.shape
    down, across = rows.shape[1], columns.shape[1]
    mixed = torch.bmm(columns, pixels.reshape(batch, channels * height, width).mT)
    mixed = torch.bmm(rows, mixed.view(batch, across * channels, height).mT)
    return mixed.view(batch, down, across, channels).permute(0, 3, 1, 2).clamp_(0, 1)


def box_weights(start: Tensor, length: Tensor, size: int, out: int, interpolation: Interpolation) -> Tensor:
    """Weights that resize the pixels start .. start + length - 1 of an axis of `size` pixels to `out` pixels.

    `start` and `length` are [B]; the result is [B, out, size], its rows sum to 1 and are 0 outside of the box. A
    kernel of 1 pixel is widened to the stretch of the box where that is above 1 (antialiasing), as ATen's
    UpSampleKernel does it.
    """
    scale = length[:, None] / out
    stretch = scale.clamp(min=1)
    centres = scale * torch.arange(0.5, out, device=start.device)
    places = torch.arange(0.5, size, device=start.device) - start[:, None]
    inside = (places > 0) & (places < length[:, None])
    # A pixel outside of the box is infinitely far from every output pixel.
    places = torch.where(inside, places, torch.inf)
    distance = ((places / stretch)[:, None, :] - (centres / stretch)[:, :, None]).abs_()
    weights = _KERNELS[interpolation](distance)
    return weights / weights.sum(dim=-1, keepdim=True)


def blur_weights(sigma: Tensor, radius: int, size: int) -> Tensor:
    """Weights [B, size, size] of a Gaussian blur of 2 radius + 1 pixels, reflected at the borders; `sigma` is [B]."""
    offsets = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.softmax(-0.5 * (offsets / sigma[:, None]) ** 2, dim=1)
    pixels = torch.arange(size, device=sigma.device)
    sources = size - 1 - (size - 1 - (pixels[:, None] + offsets).abs()).abs()
    # [taps, size, size]: whether this tap of an output pixel falls on that input pixel; near a border two may share it.
    falls = (sources.T[:, :, None] == pixels).to(kernel.dtype)
    return (kernel @ falls.flatten(1)).view(-1, size, size)


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp_(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -1/2, doubled: a sum of what reaches 2 pixels and what reaches 1 pixel."""
    far = (2 - distance).clamp_(min=0)
    beyond = far - 1
    near = beyond.clamp(min=0)
    return far.square_().mul_(beyond).addcmul_(near.square(), torch.rsub(near, 2, alpha=4))


_KERNELS: Mapping[Interpolation, Callable[[Tensor], Tensor]] = {
    Interpolation.BILINEAR: _triangle,
    Interpolation.BICUBIC: _cubic,
}
