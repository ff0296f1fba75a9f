"""Colour jitter and grayscale."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Generator, Tensor

from bench.data.views.operation import (
    Operation,
    Strength,
    between,
    check_range,
    chosen,
    per_image,
    tensor_of,
    uniforms,
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

    def draw(self, shape: torch.Size, generator: Generator) -> JitterDraw:
        """Four independent strengths and one of the 24 orders, all equally likely."""
        brightness, contrast, saturation, hue = uniforms(len(Adjustment), shape[0], generator=generator)
        hue_strength = tensor_of(self.hue, generator.device)
        return JitterDraw(
            order=uniforms(shape[0], len(Adjustment), generator=generator).argsort(dim=1),
            brightness=_factor(self.brightness, brightness),
            contrast=_factor(self.contrast, contrast),
            saturation=_factor(self.saturation, saturation),
            hue=between(-hue_strength, hue_strength, hue),
            applied=chosen(self.p, shape[0], generator),
        )

    def apply(self, pixels: Tensor, drawn: JitterDraw) -> Tensor:
        """[B, 3, H, W] -> [B, 3, H, W]."""
        strengths = torch.stack([drawn.brightness, drawn.contrast, drawn.saturation, drawn.hue], dim=1)
        factors = strengths.gather(1, drawn.order)
        # Hue is the dear one: made once, between the blends that come before it and those that come after it.
        hue_turn = (drawn.order == Adjustment.HUE).to(torch.uint8).argmax(dim=1)
        jittered = pixels
        for turn in range(3):
            factor = torch.where(turn < hue_turn, factors[:, turn], 1)
            jittered = blend(jittered, drawn.order[:, turn], factor)
        jittered = adjust_hue(jittered, drawn.hue)
        for turn in range(1, 4):
            factor = torch.where(turn > hue_turn, factors[:, turn], 1)
            jittered = blend(jittered, drawn.order[:, turn], factor)
        return where_chosen(drawn.applied, jittered, pixels)


@dataclass(frozen=True)
class Grayscale(Operation[Tensor]):
    """All three channels become the luma, with probability `p` (torchvision `RandomGrayscale`)."""

    p: Strength = 0.2

    def __post_init__(self) -> None:
        check_range("the probability of grayscale", self.p, 0, 1)

    def draw(self, shape: torch.Size, generator: Generator) -> Tensor:
        """Bool [B]: which images lose their colour."""
        return chosen(self.p, shape[0], generator)

    def apply(self, pixels: Tensor, drawn: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 3, H, W]."""
        return where_chosen(drawn, luma(pixels), pixels)


def luma(pixels: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1, H, W] by the weights of ITU-R BT.601."""
    red, green, blue = pixels.unbind(dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def blend(pixels: Tensor, adjustment: Tensor, factor: Tensor) -> Tensor:
    """Brightness, contrast or saturation, each a step from an anchor (black, the mean luma, the luma) by a factor.

    `adjustment` [B] names which of the three an image gets; a `factor` [B] of 1 leaves it as it is.
    """
    grey = luma(pixels)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    even = torch.where(per_image(adjustment == Adjustment.CONTRAST), mean, 0)
    anchor = torch.where(per_image(adjustment == Adjustment.SATURATION), grey, even)
    return torch.lerp(anchor, pixels, per_image(factor)).clamp_(0, 1)


def adjust_hue(pixels: Tensor, shift: Tensor) -> Tensor:
    """Turns the colour wheel by `shift` [B] turns; value and saturation stay.

    In hue h (in sixths of a turn), each channel is a trapezoid between the smallest and the largest of the three, so
    the way through HSV needs neither its saturation nor its six cases.
    """
    red, green, blue = pixels.unbind(dim=1)
    largest, smallest = pixels.amax(dim=1), pixels.amin(dim=1)
    chroma = largest - smallest
    # The hue of a grey pixel is arbitrary: its chroma is 0.
    divisor = chroma.clamp(min=torch.finfo(chroma.dtype).tiny)
    hue = torch.where(
        largest == red,
        (green - blue) / divisor,
        torch.where(largest == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = (hue + 6 * shift[:, None, None]).remainder_(6)
    levels = torch.stack([(hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs()], dim=1)
    return levels.clamp_(0, 1).mul_(chroma[:, None]).add_(smallest[:, None])


def _factor(strength: Strength, share: Tensor) -> Tensor:
    strength = tensor_of(strength, share.device)
    return between((1 - strength).clamp(min=0), 1 + strength, share)
