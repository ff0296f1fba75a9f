"""Gaussian blur."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.data.views.operation import (
    Operation,
    Strength,
    between,
    check_order,
    check_range,
    never,
)
from bench.data.views.resampling import blur_weights, resample

NO_WIDTH = 1e-3
"""A sigma in pixels whose kernel is a one among zeros: it leaves an image as it is, to the last bit."""


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

    numbers = 2
    sigma: tuple[float, float] = (0.1, 2.0)
    p: Strength = 0.5

    def __post_init__(self) -> None:
        check_range("the sigma of a blur", self.sigma[0], 1e-3)
        check_order("the sigma of a blur", self.sigma)
        check_range("the probability of a blur", self.p, 0, 1)

    @property
    def idle(self) -> bool:
        """Never blurs."""
        return never(self.p)

    def sample(self, shape: torch.Size, shares: Tensor) -> BlurDraw:
        """Sigma uniform in its range."""
        return BlurDraw(between(*self.sigma, shares[0]), shares[1] < self.p)

    def apply(self, pixels: Tensor, drawn: BlurDraw) -> Tensor:
        """[B, 3, H, W] -> [B, 3, H, W]."""
        height, width = pixels.shape[-2:]
        sigma = torch.where(drawn.applied, drawn.sigma, NO_WIDTH)
        rows = blur_weights(sigma, self._radius(height), height)
        columns = rows if width == height else blur_weights(sigma, self._radius(width), width)
        return resample(pixels, rows, columns)

    def _radius(self, side: int) -> int:
        """Taps on either side of the middle one along an axis of `side` pixels, as far as one reflection reaches."""
        return min(math.ceil(3 * self.sigma[1]), side - 1)
