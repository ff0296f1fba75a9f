"""Crops and flips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn import functional

from bench.data.views.operation import (
    Operation,
    Strength,
    between,
    check_order,
    check_range,
    integers,
    never,
    where_chosen,
)
from bench.data.views.resampling import Interpolation, box_weights, resample
from bench.errors import BenchError

TRIES = 10


@dataclass(frozen=True, eq=False)
class Boxes:
    """A box per image, in pixels; each field is int64 [B]."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


@dataclass(frozen=True)
class RandomResizedCrop(Operation[Boxes]):
    """A box of random area and aspect ratio, resized with antialiasing (torchvision `RandomResizedCrop`).

    Attributes:
        scale: the range of the box's area, as a share of the image's.
        ratio: the range of width / height; its logarithm is uniform.
        interpolation: bilinear or bicubic; what bicubic overshoots is clamped to [0, 1].
        size: the side of the square result in pixels; None keeps the input's height and width.
    """

    numbers = 2 * TRIES + 2
    scale: tuple[Strength, Strength] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = Interpolation.BILINEAR
    size: int | None = None

    def __post_init__(self) -> None:
        for bound in self.scale:
            check_range("a crop's scale", bound, 0, 1)
        check_order("a crop's scale", self.scale)
        check_range("a crop's ratio", self.ratio[0], 1e-3)
        check_order("a crop's ratio", self.ratio)
        check_range("a crop's size", 1 if self.size is None else self.size, 1)

    def sample(self, shape: torch.Size, shares: Tensor) -> Boxes:
        """The first of ten boxes that fits into the image, at a uniform place; else the largest central one."""
        image_height, image_width = shape[-2:]
        area_share, ratio_share, place = torch.split(shares, [TRIES, TRIES, 2])
        image = per_axis(image_height, image_width, shares.device)
        tries = self._tries(image_height * image_width, area_share, ratio_share)
        fits = ((tries > 0) & (tries <= image)).all(dim=1)
        # Of equal maxima `max` gives the first: the first box that fits, if any does.
        found, first = fits.to(torch.uint8).max(dim=0, keepdim=True)
        fallback = per_axis(*self._fallback(image_height, image_width), shares.device)
        length = torch.where(found == 1, tries.gather(0, first.expand(2, -1)[None])[0], fallback)
        spare = image - length
        start = torch.where(found == 1, place * (spare + 1), spare / 2).floor_()
        (top, left), (height, width) = start.long(), length.long()
        return Boxes(top, left, height, width)

    def apply(self, pixels: Tensor, drawn: Boxes) -> Tensor:
        """[B, 3, H, W] -> [B, 3, size, size]."""
        height, width = pixels.shape[-2:]
        if height == width:  # Both axes at once: half as many small operations.
            start, length = torch.cat([drawn.top, drawn.left]), torch.cat([drawn.height, drawn.width])
            rows, columns = box_weights(start, length, height, self.size or height, self.interpolation).chunk(2)
        else:
            rows = box_weights(drawn.top, drawn.height, height, self.size or height, self.interpolation)
            columns = box_weights(drawn.left, drawn.width, width, self.size or width, self.interpolation)
        return resample(pixels, rows, columns)

    def _tries(self, image_area: int, area_share: Tensor, ratio_share: Tensor) -> Tensor:
        """[TRIES, 2, B]: whole heights and widths of boxes by shares [TRIES, B]."""
        side = (image_area * between(*self.scale, area_share)).sqrt_()
        stretch = between(math.log(self.ratio[0]) / 2, math.log(self.ratio[1]) / 2, ratio_share).exp_()
        return torch.stack([side / stretch, side * stretch], dim=1).round_()

    def _fallback(self, height: int, width: int) -> tuple[int, int]:
        """The largest box of the image whose ratio is allowed."""
        low, high = self.ratio
        if width / height < low:
            return round(width / low), width
        if width / height > high:
            return height, round(height * high)
        return height, width


def per_axis(down: int, across: int, device: torch.device) -> int | Tensor:
    """A number for height and one for width, [2, 1] on `device`; a single one where they are equal."""
    if down == across:
        return down
    return torch.stack([torch.full((1,), float(side), device=device) for side in (down, across)])


class PadMode(StrEnum):
    """What lies beyond the border of a padded image."""

    ZERO = "zero"
    REFLECT = "reflect"


_TORCH_PAD_MODES: Mapping[PadMode, str] = {PadMode.ZERO: "constant", PadMode.REFLECT: "reflect"}


@dataclass(frozen=True, eq=False)
class Offsets:
    """The corner of a crop in the padded image, in pixels; each field is int64 [B]."""

    top: Tensor
    left: Tensor


@dataclass(frozen=True)
class PaddedCrop(Operation[Offsets]):
    """A shift by up to `padding` pixels along each axis (torchvision `RandomCrop(size, padding)`).

    Attributes:
        padding: pixels added on every side before the crop of the old size.
        mode: what is added: zeros (black), or the image mirrored without its border pixel.
    """

    numbers = 2
    padding: int
    mode: PadMode = PadMode.ZERO

    def __post_init__(self) -> None:
        check_range("a crop's padding", self.padding)

    def sample(self, shape: torch.Size, shares: Tensor) -> Offsets:
        """Corners in 0 .. 2 padding along each axis, all equally likely."""
        top, left = integers(2 * self.padding + 1, shares)
        return Offsets(top, left)

    def apply(self, pixels: Tensor, drawn: Offsets) -> Tensor:
        """[B, 3, H, W] -> [B, 3, H, W].

        Raises:
            BenchError: if the padding cannot be reflected because the image is smaller than that.
        """
        height, width = pixels.shape[-2:]
        if self.mode is PadMode.REFLECT and self.padding >= min(height, width):
            raise BenchError(
                f"a crop's padding of {self.padding} cannot be reflected in an image of {height} x {width} pixels. "
                "Choose a smaller padding, or zeros."
            )
        padded = functional.pad(pixels, [self.padding] * 4, mode=_TORCH_PAD_MODES[self.mode])
        rows = drawn.top[:, None] + torch.arange(height, device=pixels.device)
        columns = drawn.left[:, None] + torch.arange(width, device=pixels.device)
        places = rows[:, :, None] * padded.shape[-1] + columns[:, None, :]
        index = places.flatten(1)[:, None, :].expand(-1, pixels.shape[1], -1)
        return padded.flatten(2).gather(2, index).view_as(pixels)


@dataclass(frozen=True)
class HorizontalFlip(Operation[Tensor]):
    """Left becomes right, with probability `p`."""

    numbers = 1
    p: Strength = 0.5

    def __post_init__(self) -> None:
        check_range("a flip's probability", self.p, 0, 1)

    @property
    def idle(self) -> bool:
        """Never flips."""
        return never(self.p)

    def sample(self, shape: torch.Size, shares: Tensor) -> Tensor:
        """Bool [B]: which images are flipped."""
        return shares[0] < self.p

    def apply(self, pixels: Tensor, drawn: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 3, H, W]."""
        return where_chosen(drawn, pixels.flip(-1), pixels)
