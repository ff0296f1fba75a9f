"""When a published number counts as reproduced, and when nobody can say."""

from __future__ import annotations

import numpy as np
import pytest

from leaderboard.claims.verdicts import Ruling, judge, not_comparable, seeds_needed

WOBBLE = np.array([0.4, -0.7, 0.1, 0.5, -0.3])
"""Mean 0, sd .5."""
REACH_90 = 2.1318 * WOBBLE.std(ddof=1) / 5**0.5
REACH_95 = 2.7764 * WOBBLE.std(ddof=1) / 5**0.5


@pytest.mark.parametrize(
    ("difference", "ruling"),
    [
        (0.0, Ruling.REPRODUCED),
        (1 - REACH_90 - 0.001, Ruling.REPRODUCED),
        (1 - REACH_90 + 0.001, Ruling.UNDECIDED),
        (-(1 - REACH_90 - 0.001), Ruling.REPRODUCED),
        (-(1 - REACH_90 + 0.001), Ruling.UNDECIDED),
        (1.0, Ruling.UNDECIDED),
        (1 + REACH_95 - 0.001, Ruling.UNDECIDED),
        (1 + REACH_95 + 0.001, Ruling.HIGHER),
        (-(1 + REACH_95 - 0.001), Ruling.UNDECIDED),
        (-(1 + REACH_95 + 0.001), Ruling.LOWER),
    ],
)
def test_the_intervals_and_the_margin_decide(difference: float, ruling: Ruling) -> None:
    found = judge((45 + difference + WOBBLE).tolist(), 45.0)

    assert found.ruling is ruling
    assert found.difference == pytest.approx(difference)
    assert found.inner == pytest.approx((difference - REACH_90, difference + REACH_90), abs=1e-4)
    assert found.outer == pytest.approx((difference - REACH_95, difference + REACH_95), abs=1e-4)


@pytest.mark.parametrize("value", [45.0, 44.0, 99.0])
def test_one_seed_never_decides(value: float) -> None:
    found = judge([value], 45.0)

    assert (found.ruling, found.n, found.inner, found.needed) == (Ruling.UNDECIDED, 1, None, None)
    assert found.text == "undecided at 1 seed (one seed has no spread: 2 at least)"


def test_a_wider_margin_reproduces_more() -> None:
    values = (47 + WOBBLE).tolist()

    assert [judge(values, 45.0, margin).ruling for margin in (1.0, 2.0, 3.0)] == [
        Ruling.HIGHER,
        Ruling.UNDECIDED,
        Ruling.REPRODUCED,
    ]


@pytest.mark.parametrize("difference", [0.8, 1.3, -0.9, -1.2])
def test_as_many_seeds_as_it_asks_for_would_decide_and_one_fewer_would_not(difference: float) -> None:
    found = judge((45 + difference + 3 * WOBBLE).tolist(), 45.0)
    assert found.ruling is Ruling.UNDECIDED and found.needed is not None

    def with_seeds(n: int) -> Ruling:
        shape = np.linspace(-1, 1, n)
        return judge((45 + difference + found.sd * shape / shape.std(ddof=1)).tolist(), 45.0).ruling

    assert with_seeds(found.needed) is not Ruling.UNDECIDED
    assert with_seeds(found.needed - 1) is Ruling.UNDECIDED
    assert found.text == f"undecided at 5 seeds (about {found.needed} would decide)"


def test_a_difference_at_the_margin_is_out_of_reach_of_any_number_of_seeds() -> None:
    assert seeds_needed(1.0, 0.5, 1.0) is None
    assert judge((46 + WOBBLE).tolist(), 45.0).text == "undecided at 5 seeds (more than 1000 would be needed)"


def test_numbers_that_agree_to_the_image_have_the_spread_that_rounding_hides() -> None:
    collapsed = [10.0] * 5

    assert judge(collapsed, 10.0, resolution=0.01).ruling is Ruling.REPRODUCED
    assert judge([10.0, 10.0], 10.0, resolution=100 / 128).ruling is Ruling.UNDECIDED
    assert judge(collapsed, 45.0, resolution=0.01).ruling is Ruling.LOWER


def test_what_is_not_comparable_has_no_difference() -> None:
    found = not_comparable([45.0, 46.0], ["schedule short, not paper", "protocol slf-1, not slf@ncp"])

    assert (found.ruling, found.measured, found.difference) == (Ruling.NOT_COMPARABLE, 45.5, None)
    assert found.text == "not comparable: schedule short, not paper; protocol slf-1, not slf@ncp"


def test_how_often_a_wrong_number_is_called_reproduced() -> None:
    """TOST at 5 %: a true difference of exactly the margin passes in one of twenty trials."""
    rng = np.random.default_rng(0)
    trials = [judge((46 + 0.4 * rng.normal(size=5)).tolist(), 45.0).ruling for _ in range(600)]

    assert trials.count(Ruling.REPRODUCED) / 600 == pytest.approx(0.05, abs=0.027)
    assert trials.count(Ruling.HIGHER) / 600 == pytest.approx(0.025, abs=0.019)
