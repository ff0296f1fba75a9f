"""What few pairs of seeds can show beyond a t-test: effects and power, equality, exact tests, improvement."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from leaderboard.statistics.paired import ALPHA, DRAWS, POWER, SAME, Interval, PairedTest, paired, smallest_detectable

SMALLEST_RANKED = math.ceil(math.log2(2 / ALPHA))
"""Pairs from which an exact rank or sign test can reach p < .05 at all: its smallest p is 2 / 2^n, .0625 at n = 5."""
_LARGEST_T = 10_000  # Beyond, the inverse of the noncentral t takes for ever.
_ENUMERATED = 16  # Pairs up to which all 2^n signs are tried; beyond, as many random ones.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)  # Of Gauss and Legendre's quadrature on [-1, 1].


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
    if abs(effect) <= SAME:
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
    """The interval of Cohen's d_z: the effects whose noncentral t puts the test's t at the tails.

    None where the differences do not vary, or hardly do.

    Source: Steiger and Fouladi 1997, noncentrality interval estimation.
    """
    if test.effect is None or abs(test.t) > _LARGEST_T:
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
    reach = abs(difference.sum()) - SAME * np.abs(difference).sum()
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
    difference = difference[np.abs(difference) > SAME]
    if len(difference) < SMALLEST_RANKED:
        return None
    small = len(difference) <= _ENUMERATED
    method = stats.PermutationMethod(n_resamples=2 ** len(difference)) if small else "auto"
    return float(stats.wilcoxon(np.round(difference, 9), method=method).pvalue)


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
