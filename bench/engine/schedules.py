"""Learning rates as pure functions of the position in training. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Schedule(Protocol):
    """A learning rate as a function of the position in training."""

    def __call__(self, epoch: int, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The rate of one update; `epoch` and `step` (within the epoch) count from 0."""
        ...


class Per(StrEnum):
    """How often the rate changes."""

    EPOCH = "epoch"
    STEP = "step"


class Ramp(StrEnum):
    """How W warm-up positions p = 0 .. W - 1 rise from the start to the peak; all published, all different."""

    REACHES_PEAK = "reaches-peak"
    """p / (W - 1): from the start itself, the last one at the peak (lightning-bolts: solo-learn, DeACL)."""
    BELOW_PEAK = "below-peak"
    """p / W: the first position after the warm-up is the first at the peak (ACL, AMOC)."""
    ABOVE_START = "above-start"
    """(p + 1) / W: never at the start, the last one at the peak (DynACL, RoCL)."""


RISE: Mapping[Ramp, Callable[[int, int], float]] = {
    Ramp.REACHES_PEAK: lambda position, length: position / max(length - 1, 1),
    Ramp.BELOW_PEAK: lambda position, length: position / length,
    Ramp.ABOVE_START: lambda position, length: (position + 1) / length,
}


@dataclass(frozen=True)
class WarmupCosine:
    """A linear warm-up, then half a cosine.

    Attributes:
        peak: the rate after the warm-up.
        warmup_epochs: its length; 0 is none.
        start: the rate it rises from.
        end: the rate the cosine falls to, one position after the last.
        per: whether it changes with every epoch or every step.
        ramp: the warm-up's form.
        first: the very first rate, where it differs from the ramp's (AMOC).
        ahead: positions by which the rate runs ahead: 1 where the published code steps the schedule before the update.
        cut_off: whether the half cosine is as long as the whole training, so that its last part is never run (RoCL).
    """

    peak: float
    warmup_epochs: int
    start: float = 0.0
    end: float = 0.0
    per: Per = Per.STEP
    ramp: Ramp = Ramp.REACHES_PEAK
    first: float | None = None
    ahead: int = 0
    cut_off: bool = False

    def __call__(self, epoch: int, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The rate of one update."""
        unit = 1 if self.per is Per.EPOCH else steps_per_epoch
        position = epoch if self.per is Per.EPOCH else epoch * steps_per_epoch + step
        return self.at(position + self.ahead, self.warmup_epochs * unit, epochs * unit)

    def at(self, position: int, warmup: int, total: int) -> float:
        """The rate at `position` of `total`, all counted in epochs or all in steps."""
        if position == 0 and self.first is not None:
            return self.first
        if position < warmup:
            return self.start + (self.peak - self.start) * RISE[self.ramp](position, warmup)
        fallen = (position - warmup) / (total if self.cut_off else max(total - warmup, 1))
        return self.end + (self.peak - self.end) * (1 + math.cos(math.pi * fallen)) / 2


@dataclass(frozen=True)
class WarmupIntoCosine:
    """Half a cosine per epoch over the whole training, whose first epochs rise per step to where it will be then.

    Attributes:
        peak: the rate the cosine falls from.
        warmup_epochs: length of the rise; its last step is one short of the cosine.
        start: the rate it rises from.
        end: the rate the cosine reaches in the last epoch.
    """

    peak: float
    warmup_epochs: int
    start: float
    end: float

    def __call__(self, epoch: int, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The rate of one update."""
        if epoch >= self.warmup_epochs:
            return self.cosine(epoch + 1, epochs)
        risen = (epoch + step / steps_per_epoch) / self.warmup_epochs
        return self.start + (self.cosine(self.warmup_epochs, epochs) - self.start) * risen

    def cosine(self, epoch: int, epochs: int) -> float:
        """The rate of an epoch, counted from 1."""
        return self.end + (self.peak - self.end) * (1 + math.cos(math.pi * epoch / epochs)) / 2


@dataclass(frozen=True)
class StepDecay:
    """A constant rate that is multiplied by `factor` at each milestone.

    Attributes:
        rate: the rate of epoch 0.
        milestones: the epochs, counted from 0, that are the first with a smaller rate.
        factor: what it is multiplied by.
    """

    rate: float
    milestones: tuple[int, ...] = ()
    factor: float = 0.1

    def __call__(self, epoch: int, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The rate of one update."""
        return self.rate * self.factor ** sum(epoch >= milestone for milestone in self.milestones)


def solo_learn(peak: float, warmup_epochs: int = 10, per: Per = Per.STEP) -> WarmupCosine:
    """From 3e-5 (solo-learn solo/utils/lr_scheduler.py; solo/methods/base.py:362-383); per epoch in early versions."""
    return WarmupCosine(peak, warmup_epochs, start=3e-5, per=per)


def deacl(peak: float = 0.5, warmup_epochs: int = 10, start: float = 0.003) -> WarmupCosine:
    """Per epoch, from 0.003 (DeACL solo/methods/base_for_adversarial_training.py:381-388)."""
    return WarmupCosine(peak, warmup_epochs, start=start, per=Per.EPOCH)


def amoc(peak: float = 0.1, warmup_epochs: int = 10) -> WarmupCosine:
    """Per epoch, epoch 0 at a thousandth of the peak (AMOC src/loadopts.py:245-265)."""
    return WarmupCosine(peak, warmup_epochs, per=Per.EPOCH, ramp=Ramp.BELOW_PEAK, first=peak / 1000)


def acl(peak: float = 5.0, warmup_epochs: int = 10) -> WarmupCosine:
    """Per step, stepped before the update, down to 1e-6 (ACL train_simCLR.py:34-42, 132-139)."""
    return WarmupCosine(peak, warmup_epochs, end=1e-6, ramp=Ramp.BELOW_PEAK, ahead=1)


def dynacl(peak: float = 5.0, warmup_epochs: int = 10) -> WarmupCosine:
    """Per epoch, down to 1e-6 (DynACL utils.py:465-474; train_DynACL.py:171-179)."""
    return WarmupCosine(peak, warmup_epochs, end=1e-6, per=Per.EPOCH, ramp=Ramp.ABOVE_START)


def rocl(peak: float = 1.5, warmup_epochs: int = 10) -> WarmupCosine:
    """Per epoch, from a fifteenth of the peak (RoCL src/rocl_train.py:115-116; src/warmup_scheduler/scheduler.py)."""
    return WarmupCosine(peak, warmup_epochs, start=peak / 15, per=Per.EPOCH, ramp=Ramp.ABOVE_START, cut_off=True)


def advcl(peak: float = 0.5, warmup_epochs: int = 10, start: float = 0.01) -> WarmupIntoCosine:
    """From 0.01, down to a thousandth of the peak (AdvCL utils.py:219-240; pretraining_advCL.py:70-85)."""
    return WarmupIntoCosine(peak, warmup_epochs, start=start, end=peak / 1000)
