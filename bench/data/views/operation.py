"""What an augmentation is, how augmentations compose, and the draws that all of them share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor

from bench.errors import BenchError

Strength = float | Tensor
"""A number, or a 0-dim float tensor on the device that a schedule may overwrite while training runs."""

DrawT = TypeVar("DrawT")


class Operation(ABC, Generic[DrawT]):
    """A random operation on a batch of pixels: a sampling law and what is done with the sample.

    Attributes:
        numbers: how many random numbers it takes per image.
    """

    numbers: ClassVar[int]

    @property
    def idle(self) -> bool:
        """Whether it is known to leave every image as it is, so that it need not be made."""
        return False

    @abstractmethod
    def sample(self, shape: torch.Size, shares: Tensor) -> DrawT:
        """One set of parameters per image of a batch of `shape` [B, 3, H, W].

        Args:
            shape: of the batch.
            shares: [numbers, B], draws from U[0, 1), on the batch's device.
        """

    def draw(self, shape: torch.Size, generator: Generator) -> DrawT:
        """A sample by the generator's numbers, on its device."""
        return self.sample(shape, uniforms(self.numbers, shape[0], generator))

    @abstractmethod
    def apply(self, pixels: Tensor, drawn: DrawT) -> Tensor:
        """The deterministic part: [B, 3, H, W] in [0, 1] -> the same range, image b by the b-th parameters."""

    def __call__(self, pixels: Tensor, generator: Generator) -> Tensor:
        """Draw, then apply. `pixels` and `generator` live on one device."""
        return Views(self)(pixels, generator)


class Views:
    """Operations one after another; called once per step, for all views that it needs."""

    def __init__(self, *operations: Operation[Any]) -> None:
        self.operations = operations

    def __call__(self, pixels: Tensor, generator: Generator) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> the same range, every image by its own draw; `pixels` is left as it is."""
        return self.each(pixels, generator)[0]

    def each(self, pixels: Tensor, *generators: Generator) -> tuple[Tensor, ...]:
        """A view per generator, as so many calls would make them, in half the time: small operations cost their start.

        Args:
            pixels: [B, 3, H, W] in [0, 1], left as they are.
            generators: on the pixels' device.

        Returns:
            Channels last, as networks take them.
        """
        made = [operation for operation in self.operations if not operation.idle]
        counts = [operation.numbers for operation in made]
        shares = torch.cat([uniforms(sum(counts), len(pixels), generator) for generator in generators], dim=1)
        views = torch.cat([pixels.contiguous()] * len(generators))
        # Mixed precision belongs to the network: bfloat16 cannot tell 8-bit pixels apart.
        with torch.autocast(pixels.device.type, enabled=False):
            for operation, own in zip(made, torch.split(shares, counts), strict=True):
                views = operation.apply(views, operation.sample(views.shape, own))
        return views.contiguous(memory_format=torch.channels_last).chunk(len(generators))

    def __repr__(self) -> str:
        return f"Views({', '.join(map(repr, self.operations))})"


def pixels_of(images: Tensor) -> Tensor:
    """uint8 images to float32 pixels in [0, 1], as torchvision's ToTensor does; any shape."""
    return images.to(torch.float32) / 255


def uniforms(numbers: int, batch: int, generator: Generator) -> Tensor:
    """Draws from U[0, 1), [numbers, batch], on the generator's device."""
    return torch.rand(numbers, batch, generator=generator, device=generator.device)


def between(low: Strength, high: Strength, share: Tensor) -> Tensor:
    """Maps shares in [0, 1) to [low, high): a uniform share becomes a draw from U(low, high)."""
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        start = tensor_of(low, share.device)
        return start + (tensor_of(high, share.device) - start) * share
    first = np.float32(low)  # In float32 as above, so that floats and tensors give the same bits.
    return share.mul(float(np.float32(high) - first)).add_(float(first))


def integers(count: Tensor | int, share: Tensor) -> Tensor:
    """Maps shares in [0, 1) to the integers 0 .. count - 1, each equally likely; int64."""
    return (share * count).floor().long()


def never(p: Strength) -> bool:
    """Whether a probability is the number 0; a tensor is not looked at, because it may change."""
    return not isinstance(p, Tensor) and p == 0


def where_chosen(applied: Tensor, changed: Tensor, pixels: Tensor) -> Tensor:
    """The changed images where `applied` [B], the others untouched to the last bit.

    `lerp` is exact at both ends, and unlike `where` it is vectorised.
    """
    return torch.lerp(pixels, changed, per_image(applied.to(pixels.dtype)))


def per_image(values: Tensor) -> Tensor:
    """[B] -> [B, 1, 1, 1], so that it meets [B, 3, H, W]."""
    return values[:, None, None, None]


def tensor_of(strength: Strength, device: torch.device) -> Tensor:
    """A strength as a 0-dim float32 tensor."""
    if isinstance(strength, Tensor):
        return strength
    # A fill runs on the device; torch.tensor(strength, device=...) copies from the host, which no CUDA graph allows.
    return torch.full((), strength, dtype=torch.float32, device=device)


def check_range(what: str, strength: Strength, low: float = 0, high: float = math.inf) -> None:
    """Checks a number; a tensor is not looked at, because that would wait for the device.

    Raises:
        BenchError: if the number is outside of [low, high].
    """
    if not isinstance(strength, Tensor) and not low <= strength <= high:
        bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise BenchError(f"{what} is {strength:g}, but it must be {bounds}. Correct it in the method's settings.")


def check_order(what: str, pair: tuple[Strength, Strength]) -> None:
    """Checks that a range of numbers runs upwards; tensors are not looked at.

    Raises:
        BenchError: if the first number is above the second.
    """
    low, high = pair
    if not isinstance(low, Tensor) and not isinstance(high, Tensor) and low > high:
        raise BenchError(f"{what} runs from {low:g} down to {high:g}. Write the smaller number first.")
