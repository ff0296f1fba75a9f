"""Which differences between methods the seeds can tell from noise.

The unit is the pre-training seed. Seed s fixes data order, draws, head and attack of every method, so methods are
compared on the seeds they share, by differences within a seed. scipy and statsmodels do the tests. What the test images
can tell is in `leaderboard.statistics_images`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from scipy import special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

ALPHA = 0.05
POWER = 0.8
SMALLEST_RANKED = math.ceil(math.log2(2 / ALPHA))
"""Pairs from which an exact rank or sign test can reach p < .05 at all: its smallest p is 2 / 2^n, .0625 at n = 5."""
DRAWS = 10_000
"""Of a bootstrap."""
_ENUMERATED = 16  # Pairs up to which all 2^n signs are tried; beyond, as many random ones.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)  # Of Gauss and Legendre's quadrature on [-1, 1].
_SAME = 1e-9  # Relative: differences of accuracies that differ by rounding alone are one number.

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
    if np.ptp(difference) <= _SAME * max(1.0, float(np.abs(x).max())):
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
    equal = abs(mean) <= _SAME
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
    if len(x) < 3 or np.ptp(x) <= _SAME or np.ptp(y) <= _SAME:
        return None
    return float(stats.pearsonr(x, y).statistic)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family of p-values, in the order given.

    Source: Holm 1979, through statsmodels.
    """
    if not p_values:
        return []
    return [float(p) for p in multipletests(p_values, alpha=ALPHA, method="holm")[1]]


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


def power_of(effect: float, n: int, alpha: float = ALPHA) -> float:
    """The probability that a paired t-test of n pairs finds a true difference of `effect` sd.

    Integrated over the distribution of the sample sd: scipy's noncentral t has gaps at few pairs and large effects.

    >>> round(power_of(1.68, 5), 2)
    0.8
    """
    sd = np.sqrt(stats.chi2.ppf((1 + _NODES) / 2, n - 1) / (n - 1))
    reach, shift = sd * stats.t.ppf(1 - alpha / 2, n - 1), abs(effect) * math.sqrt(n)
    return float(_WEIGHTS @ (stats.norm.sf(reach - shift) + stats.norm.cdf(-reach - shift)) / 2)


def pairs_needed(effect: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Pairs with which a paired t-test finds a true difference of `effect` sd with that probability; None for 0.

    >>> pairs_needed(0.5)
    34
    """
    if abs(effect) <= _SAME:
        return None
    if abs(effect) >= smallest_detectable(2, alpha=alpha, power=power):
        return 2
    quantiles = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    normal = max(2, math.ceil((quantiles / effect) ** 2))  # Were the sd known; t needs a few more.
    return next(n for n in itertools.count(normal) if power_of(effect, n, alpha) >= power)


def t_interval(values: Sequence[float], level: float = 1 - ALPHA, least_sd: float = 0.0) -> Interval:
    """The interval of a mean: mean +- t((1 + level) / 2, n - 1) sd / sqrt(n), from two numbers or more.

    Args:
        values: the numbers.
        level: how often such intervals hold the true mean.
        least_sd: taken where the numbers vary less than they can tell, as whole images do.
    """
    mean, error = float(np.mean(values)), max(float(np.std(values, ddof=1)), least_sd) / math.sqrt(len(values))
    reach = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return Interval(mean - reach, mean + reach)


def effect_interval(test: PairedTest, level: float = 1 - ALPHA) -> Interval | None:
    """The interval of Cohen's d_z: the effects whose noncentral t puts the test's t at the tails; None without sd.

    Source: Steiger and Fouladi 1997, noncentrality interval estimation.
    """
    if test.effect is None:
        return None

    tails = ((1 + level) / 2, (1 - level) / 2)
    low, high = (float(special.nctdtrinc(test.df, tail, test.t)) / math.sqrt(test.n) for tail in tails)
    return Interval(low, high)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests (TOST) that a mean difference lies within +- margin.

    Attributes:
        margin: in the units of the numbers.
        interval: of the mean difference at 1 - 2 alpha, 90 %.
        p: the larger of the two one-sided p-values.
    """

    margin: float
    interval: Interval
    p: float

    @property
    def shown(self) -> bool:
        """Whether the difference is shown to be smaller than the margin."""
        return self.p < ALPHA


def equivalence(test: PairedTest, margin: float) -> Equivalence | None:
    """TOST of a paired test; None where every difference is the same number.

    Source: Schuirmann 1987.
    """
    if test.constant:
        return None
    error = test.sd / math.sqrt(test.n)
    above = stats.t.sf((test.mean_difference + margin) / error, test.df)
    below = stats.t.cdf((test.mean_difference - margin) / error, test.df)
    reach = float(stats.t.ppf(1 - ALPHA, test.df)) * error
    interval = Interval(test.mean_difference - reach, test.mean_difference + reach)
    return Equivalence(margin, interval, float(max(above, below)))


def sign_flip(a: pd.Series, b: pd.Series) -> float | None:
    """Two-sided p of the mean difference among all signs of the differences; None below `SMALLEST_RANKED` pairs.

    Exact up to 16 pairs, then by seeded random signs. Source: Fisher's randomisation test.
    """
    difference = np.subtract(*paired(a, b))
    if len(difference) < SMALLEST_RANKED:
        return None
    signs = _signs(len(difference))
    reach = abs(difference.sum()) - _SAME * np.abs(difference).sum()
    return float((np.abs(signs @ difference) >= reach).mean())


def _signs(n: int) -> np.ndarray:
    """All 2^n rows of signs, or as many random ones as are tried, the observed one first: [tries, n]."""
    if n <= _ENUMERATED:
        return 1.0 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    drawn = np.random.default_rng(0).choice([-1.0, 1.0], (2**_ENUMERATED, n))
    drawn[0] = 1
    return drawn


def wilcoxon(a: pd.Series, b: pd.Series) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test; None below `SMALLEST_RANKED` pairs.

    Pairs without a difference are dropped, and what is left must be enough. Exact up to 16 pairs, ties included.
    Source: scipy.stats.wilcoxon.
    """
    difference = np.subtract(*paired(a, b))
    difference = difference[np.abs(difference) > _SAME]
    if len(difference) < SMALLEST_RANKED:
        return None
    small = len(difference) <= _ENUMERATED
    method = stats.PermutationMethod(n_resamples=2 ** len(difference)) if small else "auto"
    return float(stats.wilcoxon(np.round(difference, 9), method=method).pvalue)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The step-up adjustment that bounds the share of false discoveries, in the order given: for exploration.

    Source: Benjamini and Hochberg 1995, through statsmodels.
    """
    if not p_values:
        return []
    return [float(p) for p in multipletests(p_values, alpha=ALPHA, method="fdr_bh")[1]]


@dataclass(frozen=True)
class Improvement:
    """How often one method beats another, a seed of each drawn at random.

    Attributes:
        probability: P(a > b), ties counted half: Mann-Whitney's U over the number of pairs.
        interval: 95 %, percentile bootstrap over the seeds of each method.
    """

    probability: float
    interval: Interval

    @property
    def meaningful(self) -> bool:
        """Better in the sense of Bouthillier et al. 2021: told from 1/2, and at least `WORTHWHILE`."""
        return self.interval.low > 0.5 and self.probability >= WORTHWHILE


WORTHWHILE = 0.75


def probability_of_improvement(a: pd.Series, b: pd.Series, draws: int = DRAWS, seed: int = 0) -> Improvement:
    """P(a > b) over random seeds of both; needs a number of each.

    Source: Agarwal et al. 2021 (rliable), section 4.3.
    """
    x, y = a.to_numpy(float), b.to_numpy(float)
    won = (np.sign(np.round(x[:, None] - y[None, :], 9)) + 1) / 2
    rng = np.random.default_rng(seed)
    of_x, of_y = (rng.multinomial(n, np.full(n, 1 / n), draws) for n in won.shape)
    drawn = np.einsum("di,ij,dj->d", of_x, won, of_y) / won.size
    low, high = np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2])
    return Improvement(float(won.mean()), Interval(float(low), float(high)))


def pairs_for_improvement(probability: float = WORTHWHILE, alpha: float = ALPHA, beta: float = ALPHA) -> int:
    """Pairs with which P(a > b) is told from 1/2, one-sided, with probability 1 - beta.

    Source: Noether 1987, equation for the sign of Mann-Whitney's U with paired draws, as Bouthillier et al. use it.

    >>> pairs_for_improvement()
    29
    """
    quantiles = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(1 - beta))
    return math.ceil((quantiles / (math.sqrt(6) * (0.5 - probability))) ** 2)


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
    columns: Mapping[ColumnT, Scores], family: frozenset[ColumnT] = frozenset()
) -> tuple[Column[ColumnT], ...]:
    """Compare the best of each column with each other method, two-sided, Holm over all tests of the `family` columns.

    The best is the largest mean over all seeds of a method, the first of equals; a method with fewer than two seeds
    is neither best nor tested. Columns outside the family, and tests that are `undecidable`, keep raw p-values.
    """
    found = {(key, c.other): c for key, scores in columns.items() for c in _against_best(scores)}
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


def _against_best(scores: Scores) -> list[Comparison]:
    candidates = {label: values for label, values in scores.items() if len(values) >= 2}
    if len(candidates) < 2:
        return []
    best = max(candidates, key=lambda label: round(float(candidates[label].mean()), 9))
    others = (label for label in candidates if label != best)
    return [Comparison(best, other, paired_t(candidates[best], candidates[other])) for other in others]
