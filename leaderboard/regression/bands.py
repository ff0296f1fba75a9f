"""How far a number may stray in another context: learnt from repeats that differ by rounding alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from leaderboard.regression.measured import Measured
from leaderboard.rows import ACCURACIES

ALPHA = 0.01
"""Probability that unchanged code, in another context, strays beyond any of its bands, if strays are normal."""
FEWEST_IMAGES = 2
"""An accuracy may always move by as many images: attacks with random starts do not settle fewer."""
ROUNDING = 1e-4
"""What is not counted in images may always move by this part of itself: float32 sums in another order."""


@dataclass(frozen=True)
class Band:
    """How far honest repeats strayed.

    Attributes:
        spread: root mean square of their differences from the reference, in the metric's own unit.
        differences: how many there were.
    """

    spread: float
    differences: int

    def reach(self, comparisons: int) -> float:
        """The half width at which one of `comparisons` numbers strays by chance with probability `ALPHA` (Bonferroni).

        A difference over the spread of n others is t-distributed with n degrees of freedom if they are normal.
        """
        from scipy import stats

        quantile = stats.t.ppf(1 - ALPHA / (2 * max(1, comparisons)), self.differences)
        return float(quantile) * self.spread


def least(metric: str, reference: float, test_images: int) -> float:
    """What a number may always move by: its resolution."""
    return 100 * FEWEST_IMAGES / test_images if metric in ACCURACIES else ROUNDING * abs(reference)


def learnt(reference: Sequence[Measured], repeats: Iterable[Sequence[Measured]]) -> dict[str, dict[str, Band]]:
    """Bands from repeats of the cells of a reference: per method, seeds together, and per metric."""
    strays: dict[tuple[str, str], list[float]] = {}
    before = {cell.identity: cell.numbers for cell in reference}
    for repeat in repeats:
        for cell in repeat:
            for metric, number in before[cell.identity].items():
                if metric in cell.numbers:
                    key = (cell.row["label"], metric)
                    strays.setdefault(key, []).append(cell.numbers[metric] - number)
    bands: dict[str, dict[str, Band]] = {}
    for (label, metric), found in strays.items():
        bands.setdefault(label, {})[metric] = Band(math.sqrt(sum(one**2 for one in found) / len(found)), len(found))
    return bands


def has_other_bits(repeat: Iterable[Measured], reference: Mapping[str, Measured]) -> bool:
    """Whether a repeat rounded otherwise; one that did not teaches nothing."""
    return any(cell.bits != reference[cell.identity].bits for cell in repeat if cell.identity in reference)
