"""What every fit of a head shares, whether the encoder is trained along or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.attacks.pgd import LinfPGD, uniform_start
from bench.contract import Checkpoint, Checkpoints, LabelledImages, NoCheckpoints, Report
from bench.data.profiles import DataProfile
from bench.data.sources import DataSet
from bench.data.views import HorizontalFlip, PaddedCrop, PadMode, Views
from bench.protocols.parts import Augmentation, HeadInit, HeadRecipe, Start
from bench.randomness import Randomness

Curve = tuple[tuple[float, float], ...]
"""Pairs of learning rate and accuracy on the held-out slice, rates ascending."""
GAUSSIAN = 0.001
"""Standard deviation of `Start.GAUSSIAN` (TRADES trades.py, ACL trades.py:56-85)."""


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head and how it came about.

    Attributes:
        weight: [C, d].
        bias: [C].
        rate: the learning rate it was trained with; None for an encoder's own.
        curve: what the choice of the rate was made from; empty where nothing was chosen.
        at_edge: whether the chosen rate is the smallest or the largest of its grid.
        encoder_state: of the encoder's parameters and buffers those that the recipe changed, if it did.
    """

    weight: Tensor
    bias: Tensor
    rate: float | None
    curve: Curve = ()
    at_edge: bool = False
    encoder_state: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class HeadContext:
    """What the fit of a head may know of the run it is part of.

    Attributes:
        randomness: its random numbers, by named axes.
        device: where encoder and images live.
        report: progress.
        eps: radius of the inner attack's ball, in units of [0, 1] pixels.
        rate: the learning rate chosen by the protocol that the recipe's `rate_from` names.
        start: the head fitted by the protocol that the recipe's `init_from` names.
        checkpoints: where the fit can be resumed from, after any of its epochs.
    """

    randomness: Randomness
    device: torch.device
    report: Report
    eps: float
    rate: float | None = None
    start: FittedHead | None = None
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)

    def draw(self, epoch: int, step: int) -> Draw:
        """The random numbers of a step, by purpose."""
        return partial(self.randomness.generator, epoch=epoch, step=step, device=self.device)


Draw = Callable[[str], torch.Generator]


@dataclass(frozen=True, eq=False)
class Position:
    """Where a fit stands between two epochs: all that the rest of it depends on.

    Attributes:
        epoch: epochs that are done; where the rate is chosen first, of the choice until there is a curve.
        curve: what the rate is chosen from, once it is known.
        tensors: a copy of all that training changes; empty before its first epoch.
    """

    epoch: int = 0
    curve: Curve = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def checkpoint(self) -> Checkpoint:
        """All there is to say."""
        return Checkpoint(self.tensors, {"epoch": self.epoch, "curve": self.curve})

    @classmethod
    def latest(cls, checkpoints: Checkpoints) -> Position:
        """The one that was kept, else the start."""
        if (kept := checkpoints.latest()) is None:
            return cls()
        curve = tuple((rate, accuracy) for rate, accuracy in kept.facts["curve"])
        return cls(kept.facts["epoch"], curve, kept.tensors)


def training_images(recipe: HeadRecipe, data: DataSet) -> LabelledImages:
    """The images that the head is trained on in the end."""
    return data.fit if recipe.spares_held_out else data.train


def order_of(count: int, epoch: int, context: HeadContext) -> Tensor:
    """An epoch's order of images, equal for all rates, methods and devices."""
    return torch.randperm(count, generator=context.randomness.generator("order", epoch=epoch)).to(context.device)


def rate_factor(recipe: HeadRecipe, epoch: int) -> float:
    """What the learning rate is multiplied by in an epoch, counted from 0."""
    return recipe.decay ** sum(epoch >= milestone for milestone in recipe.milestones)


def fixed_rate(recipe: HeadRecipe, data: DataSet, context: HeadContext) -> float:
    """The learning rate of a recipe that does not choose it.

    Raises:
        BenchError: if it has none for this data set.
    """
    if not recipe.rate_from:
        return recipe.rate_for(data.profile.name)
    if context.rate is None:
        raise ValueError(f"this recipe takes its learning rate from {recipe.rate_from}, but none was handed in")
    return context.rate


_PADDING: Mapping[Augmentation, PadMode] = {
    Augmentation.ZERO_PAD_CROP_FLIP: PadMode.ZERO,
    Augmentation.REFLECT_PAD_CROP_FLIP: PadMode.REFLECT,
}


def augmentation_of(recipe: HeadRecipe, profile: DataProfile) -> Views:
    """What the recipe does to training images of this data set."""
    if recipe.augmentation is Augmentation.NONE:
        return Views()
    crop = PaddedCrop(profile.image_size // recipe.pad_divisor, _PADDING[recipe.augmentation])
    return Views(crop) if profile.name in recipe.unflipped else Views(crop, HorizontalFlip())


def budget_of(recipe: HeadRecipe, eps: float) -> LinfPGD:
    """The inner attack's budget."""
    return LinfPGD(eps, recipe.inner.steps, recipe.inner.step_fraction * eps)


def gaussian_start(x: Tensor, _: float, generator: torch.Generator) -> Tensor:
    """x + .001 N(0, 1), not clipped."""
    return x + GAUSSIAN * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


STARTS: Mapping[Start, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    Start.UNIFORM: partial(uniform_start, clip=False),
    Start.UNIFORM_CLIPPED: partial(uniform_start, clip=True),
    Start.GAUSSIAN: gaussian_start,
    Start.IMAGE: lambda x, eps, generator: x,
}
"""Where an inner attack on images [B, 3, H, W] starts in a ball of radius eps."""


def first_head(width: int, classes: int, recipe: HeadRecipe, context: HeadContext) -> Tensor:
    """[C, d + 1] before training; the bias is the last column."""
    return _FIRST[recipe.init](width, classes, context).to(context.device)


def _zeros(width: int, classes: int, _: HeadContext) -> Tensor:
    return torch.zeros(classes, width + 1)


def _torch_default(width: int, classes: int, context: HeadContext) -> Tensor:
    with context.randomness.as_global("initialisation"):
        linear = nn.Linear(width, classes)
    return torch.cat([linear.weight.detach(), linear.bias.detach()[:, None]], dim=1)


def _fitted(_width: int, _classes: int, context: HeadContext) -> Tensor:
    if context.start is None:
        raise ValueError("this recipe starts from another protocol's head, but none was handed in")
    return torch.cat([context.start.weight, context.start.bias[:, None]], dim=1)


_FIRST: Mapping[HeadInit, Callable[[int, int, HeadContext], Tensor]] = {
    HeadInit.ZERO: _zeros,
    HeadInit.DEFAULT: _torch_default,
    HeadInit.FITTED: _fitted,
}


def with_one(features: Tensor) -> Tensor:
    """[B, d] -> [B, d + 1], the last column ones."""
    return functional.pad(features, (0, 1), value=1.0)
