"""Which differences between methods the seeds can tell from noise.

The unit is the pre-training seed. Seed s fixes data order, draws, head and attack of every method, so methods are
compared on the seeds they share, by differences within a seed. scipy and statsmodels do the tests. Beside it stand
`leaderboard.statistics.seeds` (effects, power, equality, exact tests) and `leaderboard.statistics.images`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

ALPHA = 0.05
POWER = 0.8
DRAWS = 10_000
"""Of a bootstrap."""
SAME = 1e-9
"""Relative: differences of accuracies that differ by rounding alone are one number."""

ColumnT = TypeVar("ColumnT", bound=Hashable)
Scores = Mapping[str, pd.Series]
"""Method label to its numbers, indexed by seed, in the order of the table."""


class Interval(NamedTuple):
    """The two ends of an interval, in the units of what it bounds."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """A paired t-test by seed of a - b, two-sided.

    Attributes:
        n: pairs.
        mean_difference: mean of a - b, in the units of the numbers.
        low, high: 95 % interval of that mean.
        t, df, p: the test; where every difference is the same number, p is 1 if it is 0 and else 0, and t is infinite.
        sd: sample standard deviation of the differences.
        correlation: of a and b over seeds; near 0 the pairing bought nothing; None where one of them does not vary
            or n is 2.
        effect: mean_difference / sd (Cohen's d_z); None where sd is 0.
        constant: whether the differences do not vary, so that p is no measure of evidence.
    """

    n: int
    mean_difference: float
    low: float
    high: float
    t: float
    df: int
    p: float
    sd: float
    correlation: float | None
    effect: float | None
    constant: bool


def paired_t(a: pd.Series, b: pd.Series) -> PairedTest | None:
    """The paired t-test of two methods on their common seeds; None with fewer than two (no test exists).

    Source: scipy.stats.ttest_rel; the interval is mean +- t(.975, n - 1) sd / sqrt(n).
    """
    x, y = paired(a, b)
    if len(x) < 2:
        return None
    difference = x - y
    mean = float(difference.mean())
    if np.ptp(difference) <= SAME * max(1.0, float(np.abs(x).max())):
        return _constant_difference(len(x), mean, _correlation(x, y))
    result = stats.ttest_rel(x, y)
    interval = result.confidence_interval(1 - ALPHA)
    sd = float(difference.std(ddof=1))
    return PairedTest(
        n=len(x),
        mean_difference=mean,
        low=float(interval.low),
        high=float(interval.high),
        t=float(result.statistic),
        df=int(result.df),
        p=float(result.pvalue),
        sd=sd,
        correlation=_correlation(x, y),
        effect=mean / sd,
        constant=False,
    )


def paired(a: pd.Series, b: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of two methods on the seeds that they share, in the same order: [n] and [n]."""
    seeds = a.index.intersection(b.index)
    return a.loc[seeds].to_numpy(float), b.loc[seeds].to_numpy(float)


def _constant_difference(n: int, mean: float, correlation: float | None) -> PairedTest:
    """What a t-test cannot say when the differences do not vary: equal everywhere, or apart by one number."""
    equal = abs(mean) <= SAME
    mean = 0.0 if equal else mean
    return PairedTest(
        n=n,
        mean_difference=mean,
        low=mean,
        high=mean,
        t=0.0 if equal else math.copysign(math.inf, mean),
        df=n - 1,
        p=1.0 if equal else 0.0,
        sd=0.0,
        correlation=correlation,
        effect=None,
        constant=True,
    )


def _correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    if len(x) < 3 or np.ptp(x) <= SAME or np.ptp(y) <= SAME:
        return None
    return float(stats.pearsonr(x, y).statistic)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family of p-values, in the order given.

    Source: Holm 1979, through statsmodels.
    """
    if not p_values:
        return []
    return [float(p) for p in multipletests(p_values, alpha=ALPHA, method="holm")[1]]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The step-up adjustment that bounds the share of false discoveries, in the order given: for exploration.

    Source: Benjamini and Hochberg 1995, through statsmodels.
    """
    if not p_values:
        return []
    return [float(p) for p in multipletests(p_values, alpha=ALPHA, method="fdr_bh")[1]]


def smallest_significant(n: int, sd: float = 1.0, alpha: float = ALPHA) -> float:
    """The mean difference at which a paired t-test of n pairs with this sd reaches p = alpha.

    >>> round(smallest_significant(5), 2)
    1.24
    """
    return float(stats.t.ppf(1 - alpha / 2, n - 1)) / math.sqrt(n) * sd


def smallest_detectable(n: int, sd: float = 1.0, alpha: float = ALPHA, power: float = POWER) -> float:
    """The true mean difference that a paired t-test of n pairs with this sd finds with the given probability.

    >>> round(smallest_detectable(5), 2)
    1.68
    """
    return float(TTestPower().solve_power(nobs=n, alpha=alpha, power=power, alternative="two-sided")) * sd


@dataclass(frozen=True)
class Comparison:
    """The best method of a column against another.

    Attributes:
        best, other: their labels.
        test: best - other; None where they share fewer than two seeds.
        p_adjusted: Holm over the family; None where there is no test or the column is in no family.
    """

    best: str
    other: str
    test: PairedTest | None
    p_adjusted: float | None = None

    @property
    def undecidable(self) -> bool:
        """Whether every difference is one and the same number but 0: a t-test then has no variance to work with.

        Accuracies are whole numbers of images, so two seeds agree in their difference easily; p = 0 would be a claim.
        """
        return self.test is not None and self.test.constant and self.test.mean_difference != 0

    @property
    def tells_apart(self) -> bool | None:
        """Whether the test, adjusted where it is in a family, tells the two apart; None where it cannot say."""
        if self.test is None or self.undecidable:
            return None
        return (self.test.p if self.p_adjusted is None else self.p_adjusted) < ALPHA


@dataclass(frozen=True)
class Column(Generic[ColumnT]):
    """The comparisons of one column.

    Attributes:
        key: which column.
        comparisons: its best method against each other that has two seeds or more; empty where no other has.
        single: methods with one seed: neither best nor tested.
    """

    key: ColumnT
    comparisons: tuple[Comparison, ...]
    single: tuple[str, ...] = ()


def compare_columns(
    columns: Mapping[ColumnT, Scores],
    family: frozenset[ColumnT] = frozenset(),
    lower_is_better: frozenset[ColumnT] = frozenset(),
) -> tuple[Column[ColumnT], ...]:
    """Compare the best of each column with each other method, two-sided, Holm over all tests of the `family` columns.

    The best is the largest mean over all seeds of a method (the smallest where lower is better), the first of equals;
    a method with fewer than two seeds is neither best nor tested. Columns outside the family, and tests that are
    `undecidable`, keep raw p-values.
    """
    signs = {key: -1 if key in lower_is_better else 1 for key in columns}
    found = {(key, c.other): c for key, scores in columns.items() for c in _against_best(scores, signs[key])}
    members = {at: c.test.p for at, c in found.items() if at[0] in family and c.test and not c.undecidable}
    adjusted = dict(zip(members, holm(list(members.values())), strict=True))
    return tuple(
        Column(
            key,
            comparisons=tuple(replace(c, p_adjusted=adjusted.get(at)) for at, c in found.items() if at[0] == key),
            single=tuple(label for label, values in scores.items() if len(values) == 1),
        )
        for key, scores in columns.items()
    )


def _against_best(scores: Scores, sign: int) -> list[Comparison]:
    """The best, by sign times mean, against each other."""
    candidates = {label: values for label, values in scores.items() if len(values) >= 2}
    if len(candidates) < 2:
        return []
    best = max(candidates, key=lambda label: round(sign * float(candidates[label].mean()), 9))
    others = (label for label in candidates if label != best)
    return [Comparison(best, other, paired_t(candidates[best], candidates[other])) for other in others]
