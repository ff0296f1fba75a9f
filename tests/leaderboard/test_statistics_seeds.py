"""Power, effects, equality, exact tests, false discoveries and improvement, against textbooks and other libraries."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from leaderboard.statistics.paired import benjamini_hochberg, paired_t, smallest_detectable
from leaderboard.statistics.seeds import (
    effect_interval,
    equivalence,
    pairs_for_improvement,
    pairs_needed,
    power_of,
    probability_of_improvement,
    sign_flip,
    t_interval,
    wilcoxon,
)


def by_seed(*values: float) -> pd.Series:
    return pd.Series(values, dtype=float)


# Student 1908, extra hours of sleep of ten patients under two drugs.
SLEEP_1 = by_seed(0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
SLEEP_2 = by_seed(1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)
SLEEP = paired_t(SLEEP_1, SLEEP_2)
assert SLEEP is not None


# Power and effect.


@pytest.mark.parametrize(
    ("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15), (-0.5, 34), (10.0, 3), (50.0, 2), (0.0, None)]
)
def test_pairs_needed_are_those_of_gpower(effect: float, pairs: int | None) -> None:
    assert pairs_needed(effect) == pairs


def test_power_is_80_per_cent_at_the_smallest_detectable_difference() -> None:
    assert power_of(smallest_detectable(5), 5) == pytest.approx(0.8, abs=1e-6)
    assert power_of(0.0, 5) == pytest.approx(0.05, abs=1e-6)


def test_the_interval_of_an_effect_ends_where_its_noncentral_t_has_the_tails() -> None:
    interval = effect_interval(SLEEP)

    assert interval is not None
    tails = [stats.nct.cdf(SLEEP.t, 9, end * math.sqrt(10)) for end in interval]
    assert tails == pytest.approx([0.975, 0.025], abs=1e-6)
    assert interval.low < SLEEP.effect < interval.high < 0


@pytest.mark.parametrize("values", [(3.0, 1.0), (30.0, 31.0, 29.0)])
def test_the_interval_of_an_effect_exists_at_few_seeds_too(values: tuple[float, ...]) -> None:
    test = paired_t(by_seed(*values), by_seed(*[0.0] * len(values)))

    assert test is not None
    interval = effect_interval(test)
    assert interval is not None and interval.low < test.effect < interval.high


def test_no_interval_where_differences_hardly_vary() -> None:
    test = paired_t(by_seed(50.000_001, 51, 52), by_seed(40, 41, 42))

    assert test is not None and not test.constant
    assert effect_interval(test) is None


def test_no_effect_without_variance() -> None:
    constant = paired_t(by_seed(1, 2, 3), by_seed(2, 3, 4))

    assert constant is not None
    assert (effect_interval(constant), equivalence(constant, 5.0)) == (None, None)


# Intervals and equality.


def test_a_t_interval_is_that_of_a_textbook() -> None:
    """NIST/SEMATECH e-Handbook 1.3.5.2: mean 9.261460, sd .02278881, n 195, 95 % interval 9.258242 to 9.264679."""
    rng = np.random.default_rng(0)
    shape = rng.normal(size=195)
    values = 9.261460 + 0.02278881 * (shape - shape.mean()) / shape.std(ddof=1)

    assert t_interval(values.tolist()) == pytest.approx((9.258242, 9.264679), abs=1e-6)


def test_a_t_interval_is_no_shorter_than_rounding_permits() -> None:
    assert t_interval([50.0, 50.0], 0.95) == (50.0, 50.0)
    low, high = t_interval([50.0, 50.0], 0.95, least_sd=0.1)
    assert (low, high) == pytest.approx((50 - 12.706 * 0.1 / 2**0.5, 50 + 12.706 * 0.1 / 2**0.5), abs=1e-4)


@pytest.mark.parametrize("margin", [0.5, 2.0, 3.0])
def test_tost_agrees_with_statsmodels(margin: float) -> None:
    found = equivalence(SLEEP, margin)

    assert found is not None
    p, _, _ = ttost_paired(SLEEP_1, SLEEP_2, -margin, margin)
    assert found.p == pytest.approx(p)
    inside = -margin < found.interval.low and found.interval.high < margin
    assert found.shown is inside


# Exact tests.


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_exact_tests_are_silent_where_their_smallest_p_is_above_5_per_cent(n: int) -> None:
    a, b = by_seed(*range(10, 10 + n)), by_seed(*[0.5 * i for i in range(n)])

    assert (sign_flip(a, b), wilcoxon(a, b)) == (None, None)


def test_at_six_seeds_they_reach_their_smallest_p() -> None:
    a, b = by_seed(10, 11, 12, 13, 14, 15), by_seed(1, 1.5, 3, 4.5, 5, 7)

    assert sign_flip(a, b) == wilcoxon(a, b) == 2 / 2**6


def test_sign_flips_count_all_signs() -> None:
    differences = [1.2, -0.4, 2.2, 0.3, 1.9, -1.1, 0.8]
    reach = abs(sum(differences)) - 1e-9
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in itertools.product([1, -1], repeat=7)
    ]

    p = sign_flip(by_seed(*differences), by_seed(*[0.0] * 7))

    assert p == sum(abs(total) >= reach for total in sums) / 2**7


def test_beyond_what_can_be_enumerated_the_random_signs_repeat() -> None:
    a, b = pd.Series(np.random.default_rng(1).normal(0.4, 1, 20)), by_seed(*[0.0] * 20)

    assert sign_flip(a, b) == sign_flip(a, b)
    assert sign_flip(a, b) == pytest.approx(stats.ttest_1samp(a, 0).pvalue, abs=0.03)


def test_wilcoxon_gives_the_textbook_number() -> None:
    """Hollander and Wolfe 1973, depression of nine patients: V = 40, two-sided p = 0.0390625 (R: wilcox.test)."""
    before = by_seed(1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30)
    after = by_seed(0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29)

    assert wilcoxon(before, after) == pytest.approx(0.0390625)


def test_wilcoxon_drops_pairs_without_a_difference() -> None:
    a, b = by_seed(5, 6, 7, 8, 9, 10, 11), by_seed(5, 6, 1, 2, 3, 4, 5)

    assert wilcoxon(a, b) is None


# False discoveries and improvement.


def test_benjamini_hochberg_gives_the_numbers_of_its_paper() -> None:
    """Benjamini and Hochberg 1995, section 3.2: of 15 p-values, the four smallest are rejected at .05."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.324,
        0.4262,
        0.5719,
        0.6528,
        0.759,
        1,
    ]

    adjusted = benjamini_hochberg(p)

    assert [one < 0.05 for one in adjusted] == [True] * 4 + [False] * 11
    assert adjusted[:4] == pytest.approx([0.0015, 0.003, 0.0095, 0.035625])
    assert benjamini_hochberg([]) == []


def test_the_probability_of_improvement_is_that_of_mann_whitney() -> None:
    a, b = by_seed(3, 5, 5, 7), by_seed(1, 5, 6)
    found = probability_of_improvement(a, b)

    assert found.probability == pytest.approx(stats.mannwhitneyu(a, b).statistic / 12)
    assert found.interval.low <= found.probability <= found.interval.high
    assert found == probability_of_improvement(a, b)


def test_it_is_meaningful_where_it_is_large_and_told_from_one_half() -> None:
    rng = np.random.default_rng(0)
    base = pd.Series(rng.normal(0, 1, 30))

    assert probability_of_improvement(base + 2, base).meaningful
    assert not probability_of_improvement(base + 0.3, base).meaningful
    assert not probability_of_improvement(base, base + 2).meaningful


def test_noether_asks_for_29_pairs() -> None:
    assert pairs_for_improvement() == 29
    assert pairs_for_improvement(0.6) > 29
