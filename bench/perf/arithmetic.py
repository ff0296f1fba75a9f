"""From passes and seconds to a floor, a ratio and shares of what the device can do. Pure; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.contract import Passes


@dataclass(frozen=True)
class Bare:
    """What one batch costs in each bare pass of the encoder: seconds, FLOPs or bytes.

    Attributes:
        forward: without any gradient, in the mode in which the step makes such passes.
        to_input: forward and backward to the images alone, parameters frozen, likewise.
        full: forward and backward to all parameters, in train mode.
    """

    forward: float
    to_input: float
    full: float

    def priced(self, passes: Passes) -> float:
        """What `passes` cost; a backward pass comes with its forward pass, which is not paid twice."""
        alone = passes.forward - passes.backward_input - passes.backward
        return alone * self.forward + passes.backward_input * self.to_input + passes.backward * self.full


@dataclass(frozen=True)
class Round:
    """Seconds of one round, in which everything was measured once, one after another.

    Attributes:
        step: the whole step, from uint8 images to the optimiser's update.
        views: the step's augmentations alone.
        bare: each bare pass.
    """

    step: float
    views: float
    bare: Bare


@dataclass(frozen=True)
class Rates:
    """What the device was measured to do at best.

    Attributes:
        matrix: FLOP/s of a large matrix product in the run's precision.
        copy: bytes per second read and written by a large copy.
    """

    matrix: float
    copy: float


@dataclass(frozen=True)
class Work:
    """What the counted passes do with one batch.

    Attributes:
        images: in the batch.
        flops: of each bare pass; a multiplication and an addition are two.
        traffic: bytes that the operations of each bare pass read and write, as if no cache held anything.
    """

    images: int
    flops: Bare
    traffic: Bare


@dataclass(frozen=True)
class Speed:
    """The speed of a step. Where a method declares no passes, all that needs a floor is None.

    Attributes:
        step_ms, floor_ms, views_ms: medians over the rounds.
        ratio: step / floor, the median of the rounds' ratios.
        views_share: views / step, likewise.
        images_per_s: pre-training images.
        flops: FLOP/s of the declared passes, over the step's time.
        matrix_share, copy_share: of the device's rates that those passes make use of.
    """

    step_ms: float
    floor_ms: float | None
    ratio: float | None
    images_per_s: float
    views_ms: float
    views_share: float
    flops: float | None
    matrix_share: float | None
    copy_share: float | None


def speed(rounds: Sequence[Round], passes: Passes | None, work: Work, rates: Rates) -> Speed:
    """The medians of at least one round."""
    step = median(one.step for one in rounds)
    flops = work.flops.priced(passes) / step if passes else None
    traffic = work.traffic.priced(passes) / step if passes else None
    floors = [one.bare.priced(passes) for one in rounds] if passes else []
    return Speed(
        step_ms=1e3 * step,
        floor_ms=1e3 * median(floors) if floors else None,
        ratio=_ratio((one.step for one in rounds), floors) if floors else None,
        images_per_s=work.images / step,
        views_ms=1e3 * median(one.views for one in rounds),
        views_share=_ratio((one.views for one in rounds), (one.step for one in rounds)),
        flops=flops,
        matrix_share=flops / rates.matrix if flops is not None else None,
        copy_share=traffic / rates.copy if traffic is not None else None,
    )


def _ratio(above: Iterable[float], below: Iterable[float]) -> float:
    """The median of the quotients: a noisy moment weighs on both sides of its own round alone."""
    return median(one / other for one, other in zip(above, below, strict=True))
