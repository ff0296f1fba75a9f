"""Colour jitter and grayscale."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from bench.data.views.operation import (
    Operation,
    Strength,
    between,
    check_range,
    never,
    where_chosen,
)


class Adjustment(IntEnum):
    """The four parts of colour jitter, numbered as in torchvision's `fn_idx`."""

    BRIGHTNESS = 0
    CONTRAST = 1
    SATURATION = 2
    HUE = 3


@dataclass(frozen=True, eq=False)
class JitterDraw:
    """Colour jitter's parameters per image.

    Attributes:
        order: int64 [B, 4], the adjustments in the order in which they are made.
        brightness, contrast, saturation: factors [B]; 1 changes nothing.
        hue: [B], in turns of the colour wheel, -1/2 .. 1/2; 0 changes nothing.
        applied: bool [B], whether the image is jittered at all.
    """

    order: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    applied: Tensor


@dataclass(frozen=True)
class ColourJitter(Operation[JitterDraw]):
    """Brightness, contrast, saturation and hue in random order (torchvision `RandomApply([ColorJitter(...)], p)`).

    Attributes:
        brightness, contrast, saturation: a strength s draws the factor from U(max(0, 1 - s), 1 + s).
        hue: a strength h in [0, 1/2] draws the shift from U(-h, h).
        p: the probability that an image is jittered.
    """

    numbers = 2 * len(Adjustment) + 1
    brightness: Strength
    contrast: Strength
    saturation: Strength
    hue: Strength
    p: Strength = 1.0

    def __post_init__(self) -> None:
        check_range("the strength of brightness", self.brightness)
        check_range("the strength of contrast", self.contrast)
        check_range("the strength of saturation", self.saturation)
        check_range("the strength of hue", self.hue, 0, 0.5)
        check_range("the probability of colour jitter", self.p, 0, 1)

    @property
    def idle(self) -> bool:
        """Never jitters."""
        return never(self.p)

    def sample(self, shape: torch.Size, shares: Tensor) -> JitterDraw:
        """Four independent strengths and one of the 24 orders, all equally likely."""
        brightness, contrast, saturation, hue, *_, applied = shares.unbind()
        return JitterDraw(
            order=shares[len(Adjustment) : -1].argsort(dim=0).T,
            brightness=_factor(self.brightness, brightness),
            contrast=_factor(self.contrast, contrast),
            saturation=_factor(self.saturation, saturation),
            hue=between(-self.hue, self.hue, hue),
            applied=applied < self.p,
        )

    def apply(self, pixels: Tensor, drawn: JitterDraw) -> Tensor:
        """[B, 3, H, W] -> [B, 3, H, W]."""
        # A channel of all images is one stretch of memory here: the operations on it are few and long.
        planes = pixels.transpose(0, 1).contiguous()
        # Hue is the dear one: made once, between the blends that come before it and those that come after it.
        before, after = blends(drawn)
        jittered = planes
        for shares in before:
            jittered = blend(jittered, *shares)
        jittered = adjust_hue(jittered, drawn.hue)
        for shares in after:
            jittered = blend(jittered, *shares)
        return where_chosen(drawn.applied, jittered.transpose(0, 1), planes.transpose(0, 1))


@dataclass(frozen=True)
class Grayscale(Operation[Tensor]):
    """All three channels become the luma, with probability `p` (torchvision `RandomGrayscale`)."""

    numbers = 1
    p: Strength = 0.2

    def __post_init__(self) -> None:
        check_range("the probability of grayscale", self.p, 0, 1)

    @property
    def idle(self) -> bool:
        """Never takes colour away."""
        return never(self.p)

    def sample(self, shape: torch.Size, shares: Tensor) -> Tensor:
        """Bool [B]: which images lose their colour."""
        return shares[0] < self.p

    def apply(self, pixels: Tensor, drawn: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 3, H, W]."""
        return where_chosen(drawn, luma(pixels), pixels)


def luma(pixels: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1, H, W] by the weights of ITU-R BT.601."""
    return light(pixels.transpose(0, 1)).transpose(0, 1)


def light(planes: Tensor) -> Tensor:
    """The luma of images that lie channel by channel: [3, B, H, W] -> [1, B, H, W]."""
    red, green, blue = torch.split(planes, 1)
    return (0.2989 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)


Shares = tuple[Tensor, Tensor, Tensor]
"""What a blend takes of an image, of its mean luma and of its luma; each [B, 1, 1]."""


def blends(drawn: JitterDraw) -> tuple[list[Shares], list[Shares]]:
    """The shares of the three blends that may come before hue, and of the three that may come after it.

    A blend that stands on the other side of an image's hue takes 1, 0 and 0, which leaves the image as it is.
    """
    order, sides = drawn.order.T, torch.arange(2, device=drawn.order.device)[:, None, None]
    late = (order[:-1] == Adjustment.HUE).cumsum(dim=0)  # [3, B]: 1 from the turn of hue on.
    kinds = torch.where(late == 1, order[1:], order[:-1])  # [3, B]: the order without hue.
    factors = torch.stack([drawn.brightness, drawn.contrast, drawn.saturation]).gather(0, kinds)
    own = torch.where(late == sides, factors, 1)  # [2, 3, B], as are all shares: before and after hue.
    rest = 1 - own
    shares = (own, rest * (kinds == Adjustment.CONTRAST), rest * (kinds == Adjustment.SATURATION))
    before, after = (
        list(zip(*(part[side, :, :, None, None].unbind() for part in shares), strict=True)) for side in (0, 1)
    )
    return before, after


def blend(planes: Tensor, own: Tensor, mean: Tensor, grey: Tensor) -> Tensor:
    """Brightness, contrast or saturation: from black, the mean luma or the luma towards the image and beyond it."""
    luminance = light(planes)
    anchor = mean * luminance.mean(dim=(2, 3), keepdim=True)
    return torch.addcmul(luminance.mul_(grey).add_(anchor), own, planes).clamp_(0, 1)


def adjust_hue(planes: Tensor, shift: Tensor) -> Tensor:
    """Turns the colour wheel of planes [3, B, H, W] by `shift` [B] turns; value and saturation stay.

    In sixths of a turn from green, red, green and blue stand at -2, 0 and 2. A channel has the largest value of the
    three within one sixth of its own hue and the smallest beyond two, so the way through HSV needs neither its
    saturation nor its six cases. With channels r, g, b stretched to [0, 1], a hue is 1 + b + r - g away from green, on
    blue's side where b > r.
    """
    red, green, blue = torch.split(planes, 1)
    largest, smallest = planes.amax(dim=0, keepdim=True), planes.amin(dim=0, keepdim=True)
    chroma = largest - smallest
    # The hue of a grey pixel is arbitrary: its chroma is 0.
    divisor = chroma.clamp(min=torch.finfo(chroma.dtype).tiny)
    from_green = (chroma - smallest).add_(red).sub_(green).add_(blue).div_(divisor)
    hue = from_green.copysign_(blue - red).add_((6 * shift)[:, None, None])
    hue.sub_((hue / 6).round_(), alpha=6)  # Back to -3 .. 3; `remainder` is not vectorised.
    primaries = torch.arange(-2, 4, 2, device=shift.device)[:, None, None, None]
    opposite = (hue - primaries).abs_().sub_(3).abs_()  # Away from the opposite hue: 3 at the channel's own.
    return torch.addcmul(smallest.sub_(chroma), opposite.clamp_(1, 2), chroma)


def _factor(strength: Strength, share: Tensor) -> Tensor:
    low = (1 - strength).clamp(min=0) if isinstance(strength, Tensor) else max(0.0, 1 - strength)
    return between(low, 1 + strength, share)
