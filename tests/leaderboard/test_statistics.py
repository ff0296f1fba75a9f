"""Paired tests by seed, Holm's adjustment and power, against textbook numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import pytest

from leaderboard.statistics.paired import (
    compare_columns,
    holm,
    paired_t,
    smallest_detectable,
    smallest_significant,
)


def by_seed(values: Sequence[float], first: int = 0) -> pd.Series:
    return pd.Series(list(values), index=range(first, first + len(values)), dtype=float)


# Student 1908, extra hours of sleep of ten patients under two drugs; R: t.test(extra ~ group, paired = TRUE).
SLEEP_1 = by_seed([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SLEEP_2 = by_seed([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def test_paired_t_gives_the_textbook_numbers() -> None:
    test = paired_t(SLEEP_1, SLEEP_2)

    assert test is not None
    assert (test.n, test.df) == (10, 9)
    assert test.mean_difference == pytest.approx(-1.58)
    assert test.t == pytest.approx(-4.0621, abs=1e-4)
    assert test.p == pytest.approx(0.002833, abs=1e-6)
    assert (test.low, test.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-6)
    assert test.sd == pytest.approx(1.229995, abs=1e-6)
    assert test.correlation == pytest.approx(0.7951702, abs=1e-6)
    assert test.effect == pytest.approx(-1.58 / 1.229995, abs=1e-5)


def test_pairs_are_made_by_seed_not_by_position() -> None:
    shuffled = SLEEP_2.sample(frac=1, random_state=1)

    assert paired_t(SLEEP_1, shuffled) == paired_t(SLEEP_1, SLEEP_2)


def test_only_common_seeds_are_paired() -> None:
    longer = pd.concat([SLEEP_2, by_seed([1000.0, -1000.0], first=10)])

    assert paired_t(SLEEP_1, longer) == paired_t(SLEEP_1, SLEEP_2)


@pytest.mark.parametrize("other", [by_seed([]), by_seed([1.0]), by_seed([1.0, 2.0], first=4)])
def test_fewer_than_two_common_seeds_permit_no_test(other: pd.Series) -> None:
    assert paired_t(by_seed([1, 2, 3, 4, 5]), other) is None


def test_equal_numbers_give_p_one() -> None:
    test = paired_t(by_seed([50.0, 60.0, 70.0]), by_seed([50.0, 60.0, 70.0]))

    assert test is not None
    assert (test.p, test.t, test.mean_difference, test.constant, test.effect) == (1.0, 0.0, 0.0, True, None)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_difference_without_variance_is_flagged_whatever_its_rounding(sign: int) -> None:
    images = pd.Series([101, 87, 93, 66, 120])
    a, b = images / 128 * 100, (images - sign) / 128 * 100

    test = paired_t(a, b)

    assert test is not None
    assert test.constant
    assert (test.p, test.sd, test.t) == (0.0, 0.0, math.copysign(math.inf, sign))
    assert test.low == test.high == pytest.approx(sign * 100 / 128)


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.6, 0.7], [1.0, 1.0]),
    ],
)
def test_holm(raw: list[float], adjusted: list[float]) -> None:
    assert holm(raw) == pytest.approx(adjusted)


@pytest.mark.parametrize(("n", "needed", "found"), [(5, 1.24, 1.68), (10, 0.72, 1.00)])
def test_what_n_seeds_can_show(n: int, needed: float, found: float) -> None:
    assert smallest_significant(n) == pytest.approx(needed, abs=0.005)
    assert smallest_detectable(n) == pytest.approx(found, abs=0.005)
    assert smallest_detectable(n, sd=2.0) == pytest.approx(2 * smallest_detectable(n))


@pytest.mark.parametrize(("stretch", "significant"), [(1.001, True), (0.999, False)])
def test_the_smallest_significant_difference_is_where_p_crosses_alpha(stretch: float, significant: bool) -> None:
    noise = by_seed([-1.0, -0.5, 0.0, 0.5, 1.0])
    shifted = noise + stretch * smallest_significant(5, float(noise.std(ddof=1)))

    test = paired_t(shifted + 50, by_seed([50.0] * 5))

    assert test is not None
    assert (test.p < 0.05) is significant


FAR = by_seed([20.1, 19.7, 20.2, 20.4, 19.9])
NEAR = by_seed([50.2, 48.1, 49.5, 47.9, 49.8])
TOP = by_seed([50.1, 49.8, 50.3, 50.0, 49.9])


def test_the_best_is_compared_with_each_other() -> None:
    [column] = compare_columns({"aa": {"far": FAR, "top": TOP, "near": NEAR}})

    assert [(c.best, c.other, c.tells_apart) for c in column.comparisons] == [
        ("top", "far", True),
        ("top", "near", False),
    ]


def test_holm_spans_the_family_and_leaves_other_columns_raw() -> None:
    scores = {"far": FAR, "top": TOP, "near": NEAR}

    columns = compare_columns({"sa": scores, "ra": scores, "aa": scores}, family=frozenset({"sa", "aa"}))

    sa, ra, aa = (column.comparisons for column in columns)
    raw = [c.test.p for c in (*sa, *aa) if c.test]
    assert [c.p_adjusted for c in (*sa, *aa)] == holm(raw)
    assert [c.p_adjusted for c in ra] == [None, None]


def test_adjustment_can_take_a_verdict_back() -> None:
    better = by_seed([51.0, 52.0, 51.5, 53.5, 50.2])
    scores = {"better": better, "worse": by_seed([50.0, 50.2, 50.1, 50.3, 49.9])}
    columns = dict.fromkeys("abc", scores)

    [alone, *_] = compare_columns(columns)
    [among, *_] = compare_columns(columns, family=frozenset("abc"))

    assert alone.comparisons[0].tells_apart is True
    assert among.comparisons[0].tells_apart is False


def test_a_single_seed_is_neither_best_nor_tested() -> None:
    [column] = compare_columns({"aa": {"lucky": by_seed([99.0]), "top": TOP, "far": FAR}})

    assert [(c.best, c.other) for c in column.comparisons] == [("top", "far")]
    assert column.single == ("lucky",)


def test_no_common_seeds_is_no_verdict() -> None:
    [column] = compare_columns({"aa": {"top": TOP, "far": by_seed([1.0, 2.0], first=7)}}, frozenset({"aa"}))

    [comparison] = column.comparisons
    assert (comparison.test, comparison.p_adjusted, comparison.tells_apart) == (None, None, None)


def test_a_difference_without_variance_is_no_verdict_and_no_part_of_the_family() -> None:
    scores = {"top": TOP, "shifted": TOP - 0.78125, "far": FAR}

    [column] = compare_columns({"aa": scores}, family=frozenset({"aa"}))

    shifted, far = column.comparisons
    assert (shifted.undecidable, shifted.p_adjusted, shifted.tells_apart) == (True, None, None)
    assert far.test is not None
    assert far.p_adjusted == pytest.approx(far.test.p)


def test_the_first_of_equals_is_the_best_and_the_other_is_not_told_apart() -> None:
    [column] = compare_columns({"aa": {"one": TOP, "two": TOP.copy()}})

    [comparison] = column.comparisons
    assert (comparison.best, comparison.tells_apart) == ("one", False)
