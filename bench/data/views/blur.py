"""Gaussian blur."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.data.views.operation import (
    Operation,
    Source,
    Strength,
    between,
    check_order,
    check_range,
    chosen,
    uniforms,
    where_chosen,
)
from bench.data.views.resampling import blur_weights, resample


@dataclass(frozen=True, eq=False)
class BlurDraw:
    """Blur's parameters per image: sigma in pixels [B], and whether it is blurred at all, bool [B]."""

    sigma: Tensor
    applied: Tensor


@dataclass(frozen=True)
class GaussianBlur(Operation[BlurDraw]):
    """A Gaussian of random width, reflected at the borders (torchvision `RandomApply([GaussianBlur(...)], p)`).

    The kernel reaches 3 sigma of the largest sigma. Official code that blurs with PIL draws its `radius` as this sigma.

    Attributes:
        sigma: the range of the standard deviation, in pixels.
        p: the probability that an image is blurred.
    """

    sigma: tuple[float, float] = (0.1, 2.0)
    p: Strength = 0.5

    def __post_init__(self) -> None:
        check_range("the sigma of a blur", self.sigma[0], 1e-3)
        check_order("the sigma of a blur", self.sigma)
        check_range("the probability of a blur", self.p, 0, 1)

    def kernel_size(self, side: int) -> int:
        """Taps along an axis of `side` pixels: an odd number, at most 2 side - 1, as far as one reflection reaches."""
        return 2 * self._radius(side) + 1

    def draw(self, shape: torch.Size, generator: Source) -> BlurDraw:
        """Sigma uniform in its range."""
        sigma = between(*self.sigma, uniforms(shape[0], generator=generator))
        return BlurDraw(sigma, chosen(self.p, shape[0], generator))

    def apply(self, pixels: Tensor, drawn: BlurDraw) -> Tensor:
        """[B, 3, H, W] -> [B, 3, H, W]."""
        height, width = pixels.shape[-2:]
        rows = blur_weights(drawn.sigma, self._radius(height), height)
        columns = rows if width == height else blur_weights(drawn.sigma, self._radius(width), width)
        return where_chosen(drawn.applied, resample(pixels, rows, columns), pixels)

    def _radius(self, side: int) -> int:
        return min(math.ceil(3 * self.sigma[1]), side - 1)
