"""The floor and the shares, on numbers made by hand."""

from __future__ import annotations

import pytest

from bench.contract import Passes
from bench.perf.arithmetic import Bare, Rates, Round, Work, speed

WORK = Work(images=100, flops=Bare(1e6, 2e6, 3e6), traffic=Bare(10.0, 20.0, 30.0))
RATES = Rates(matrix=1e9, copy=1e4)


@pytest.mark.parametrize(
    ("passes", "cost"),
    [
        (Passes(forward=1), 1.0),
        (Passes(forward=1, backward_input=1), 2.5),
        (Passes(forward=1, backward=1), 4.0),
        (Passes(forward=2, backward=2), 8.0),
        (Passes(forward=8, backward_input=5, backward=2), 1 + 5 * 2.5 + 2 * 4),
    ],
)
def test_a_backward_pass_comes_with_its_forward_pass(passes: Passes, cost: float) -> None:
    assert Bare(forward=1.0, to_input=2.5, full=4.0).priced(passes) == cost


def test_where_passes_cost_what_their_definition_says_the_price_is_their_total() -> None:
    passes = Passes(forward=11, backward_input=5, backward=2)
    assert Bare(1, 2, 3).priced(passes) == passes.total == 20


def test_numbers_are_medians_and_ratios_are_taken_within_a_round() -> None:
    calm, slow = Round(0.012, 0.003, Bare(0.001, 0.003, 0.010)), Round(0.055, 0.011, Bare(0.005, 0.010, 0.050))
    quick = Round(0.010, 0.001, Bare(0.001, 0.002, 0.008))
    found = speed([calm, slow, quick], Passes(forward=1, backward=1), WORK, RATES)
    assert found.step_ms == pytest.approx(12)
    assert found.floor_ms == pytest.approx(10)
    assert found.ratio == pytest.approx(1.2)  # of 1.2, 1.1 and 1.25
    assert found.views_ms == pytest.approx(3)
    assert found.views_share == pytest.approx(0.2)  # of .25, .2 and .1
    assert found.images_per_s == pytest.approx(100 / 0.012)


def test_shares_are_of_the_devices_rates() -> None:
    found = speed([Round(0.006, 0.0, Bare(0.001, 0.002, 0.003))], Passes(forward=1, backward=1), WORK, RATES)
    assert found.flops == pytest.approx(3e6 / 0.006)
    assert found.matrix_share == pytest.approx(0.5)
    assert found.copy_share == pytest.approx(30 / 0.006 / 1e4)


def test_a_method_that_declares_no_passes_has_a_speed_but_no_floor() -> None:
    found = speed([Round(0.01, 0.001, Bare(0.001, 0.002, 0.003))], None, WORK, RATES)
    assert found.step_ms == pytest.approx(10)
    assert (found.floor_ms, found.ratio, found.flops, found.matrix_share, found.copy_share) == (None,) * 5
