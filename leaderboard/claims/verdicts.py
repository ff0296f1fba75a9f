"""Whether measured numbers reproduce a published one: a statistical verdict, and what it rests on. Pure.

With d = mean measured - published: *reproduced* where the 90 % t interval of d lies inside the margin (two one-sided
tests at 5 %), *not reproduced* where its 95 % interval lies outside on one side, else *undecided*. The published number
is taken as it stands: where its own spread is known, it widens the margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from leaderboard.statistics.paired import ALPHA, Interval
from leaderboard.statistics.seeds import t_interval

MARGIN = 1.0
"""Points within which a number counts as the same, unless the published ones spread more."""
MOST_SEEDS = 1000
"""What a verdict may ask for; beyond, the difference lies practically at the margin."""


class Ruling(StrEnum):
    """The verdict itself."""

    REPRODUCED = "reproduced"
    HIGHER = "not reproduced (higher)"
    LOWER = "not reproduced (lower)"
    UNDECIDED = "undecided"
    NOT_COMPARABLE = "not comparable"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Verdict:
    """A ruling and what it rests on; numbers in points of per cent.

    Attributes:
        ruling: the verdict.
        margin: within which a difference counts as none.
        n: pre-training seeds with a number.
        measured, sd: mean and sample standard deviation over them; sd None for one.
        difference: mean measured - published; None where the two cannot be compared.
        inner, outer: the 90 % and the 95 % interval of the difference; None for fewer than two seeds.
        needed: seeds that would decide, were the mean and the spread to stay; None where none are known to.
        failed: pre-training seeds that failed.
        reasons: why the two cannot be compared.
    """

    ruling: Ruling
    margin: float
    n: int = 0
    measured: float | None = None
    sd: float | None = None
    difference: float | None = None
    inner: Interval | None = None
    outer: Interval | None = None
    needed: int | None = None
    failed: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The ruling in words, with what it lacks: `undecided at 5 seeds (about 19 would decide)`."""
        lost = f"; {self.failed} of {self.n + self.failed} seeds failed" if self.failed else ""
        if self.reasons:
            return f"{self.ruling}: {'; '.join(self.reasons)}{lost}"
        if self.ruling is not Ruling.UNDECIDED:
            return f"{self.ruling}{lost}"
        seeds = "1 seed" if self.n == 1 else f"{self.n} seeds"
        return f"{self.ruling} at {seeds} ({self._wanting}){lost}"

    @property
    def _wanting(self) -> str:
        if self.n == 1:
            return "one seed has no spread: 2 at least"
        return f"about {self.needed} would decide" if self.needed else f"more than {MOST_SEEDS} would be needed"


def judge(values: Sequence[float], published: float, margin: float = MARGIN, resolution: float = 0.0) -> Verdict:
    """The verdict on comparable numbers.

    Args:
        values: measured, one per pre-training seed, per cent; at least one.
        published: the claim, per cent.
        margin: within which a difference counts as none, points.
        resolution: what one test image is worth, points: numbers that agree to the image still have the spread that
            rounding to whole images hides, resolution / sqrt(12).
    """
    n, measured = len(values), float(np.mean(values))
    difference = measured - published
    if n < 2:
        return Verdict(Ruling.UNDECIDED, margin, n, measured, difference=difference)
    least = resolution / math.sqrt(12)
    differences = [value - published for value in values]
    inner = t_interval(differences, 1 - 2 * ALPHA, least)
    outer = t_interval(differences, 1 - ALPHA, least)
    ruling = _ruling(inner, outer, margin)
    sd = float(np.std(values, ddof=1))
    needed = seeds_needed(difference, max(sd, least), margin) if ruling is Ruling.UNDECIDED else None
    return Verdict(ruling, margin, n, measured, sd, difference, inner, outer, needed)


def _ruling(inner: Interval, outer: Interval, margin: float) -> Ruling:
    if -margin < inner.low and inner.high < margin:
        return Ruling.REPRODUCED
    if outer.low > margin:
        return Ruling.HIGHER
    return Ruling.LOWER if outer.high < -margin else Ruling.UNDECIDED


def seeds_needed(difference: float, sd: float, margin: float) -> int | None:
    """The fewest seeds that would decide, were this mean difference and sd to stay; None beyond `MOST_SEEDS`."""
    room = margin - abs(difference)
    tail = 1 - ALPHA if room > 0 else 1 - ALPHA / 2
    counts = np.arange(2, MOST_SEEDS + 1)
    enough = stats.t.ppf(tail, counts - 1) * sd / np.sqrt(counts) < abs(room)
    return int(counts[enough.argmax()]) if enough.any() else None


def not_comparable(values: Sequence[float], reasons: Sequence[str], margin: float = MARGIN) -> Verdict:
    """No verdict: the numbers answer another question, for these reasons."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    mean = float(np.mean(values))
    return Verdict(Ruling.NOT_COMPARABLE, margin, len(values), measured=mean, sd=sd, reasons=tuple(reasons))


def not_measured(reasons: Sequence[str] = (), margin: float = MARGIN) -> Verdict:
    """No verdict: there is nothing to compare with, for these reasons."""
    return Verdict(Ruling.NOT_MEASURED, margin, reasons=tuple(reasons))
