"""McNemar's exact test and the bootstrap over seeds and images, against textbooks and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from leaderboard.statistics.images import bootstrap, mcnemar


def outcomes(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = (both, only_a, only_b, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_mcnemar_gives_the_textbook_interval() -> None:
    """Agresti, Categorical Data Analysis, table 10.1 (approval ratings): -.096 +- 1.96 x .0095 = (-.114, -.077)."""
    found = mcnemar(*outcomes(794, 86, 150, 570)[::-1])

    assert (found.images, found.only_a, found.only_b) == (1600, 150, 86)
    assert found.difference == pytest.approx(4.0)
    assert found.interval == pytest.approx((2.13, 5.87), abs=0.01)


@pytest.mark.parametrize("cells", [(794, 86, 150, 570), (50, 3, 11, 64), (10, 0, 6, 0), (90, 1, 0, 9)])
def test_mcnemar_agrees_with_statsmodels(cells: tuple[int, int, int, int]) -> None:
    both, only_a, only_b, neither = cells

    p = statsmodels_mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue

    assert mcnemar(*outcomes(*cells)).p == pytest.approx(p)


def test_models_that_never_differ_are_not_told_apart() -> None:
    found = mcnemar(*outcomes(60, 0, 0, 40))

    assert (found.p, found.difference, found.interval) == (1.0, 0.0, (0.0, 0.0))


def test_swapping_the_two_turns_the_sign() -> None:
    a, b = outcomes(50, 3, 11, 64)

    there, back = mcnemar(a, b), mcnemar(b, a)
    assert (there.difference, there.p) == (-back.difference, back.p)


@pytest.mark.parametrize("test", [mcnemar, bootstrap])
def test_outcomes_of_other_images_cannot_be_paired(test: object) -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        test(np.ones((2, 5), bool), np.ones((2, 6), bool))  # type: ignore[operator]


def models(
    seeds: int, images: int, gap: float, of_seed: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of two methods whose accuracies differ by `gap` in the mean, more or less by seed."""
    hardness = rng.random(images)
    gaps = gap + of_seed * rng.normal(size=(seeds, 1))
    return hardness < 0.5 + gaps / 2, hardness < 0.5 - gaps / 2


def test_the_bootstrap_repeats_with_its_seed_and_not_with_another() -> None:
    a, b = models(5, 500, 0.05, 0.02, np.random.default_rng(0))

    assert bootstrap(a, b) == bootstrap(a, b)
    assert bootstrap(a, b, seed=1).interval != bootstrap(a, b).interval
    assert bootstrap(a, b).difference == pytest.approx(100 * (a.mean() - b.mean()))


def test_it_draws_what_a_plain_bootstrap_draws() -> None:
    a, b = models(4, 60, 0.1, 0.05, np.random.default_rng(3))
    rng, differences = np.random.default_rng(9), a.astype(float) - b
    plain = [differences[rng.integers(4, size=4)][:, rng.integers(60, size=60)].mean() for _ in range(6000)]

    expected = 100 * np.quantile(plain, [0.025, 0.975])

    assert bootstrap(a, b).interval == pytest.approx(tuple(expected), abs=0.8)


def test_with_one_seed_it_is_the_interval_of_mcnemar() -> None:
    a, b = outcomes(500, 80, 40, 380)

    assert bootstrap(a[None], b[None]).interval == pytest.approx(mcnemar(a, b).interval, abs=0.15)


def test_seeds_and_images_both_widen_it() -> None:
    rng = np.random.default_rng(1)
    steady = models(5, 400, 0.05, 0.0, rng)
    varying = models(5, 400, 0.05, 0.05, rng)
    many = models(5, 40_000, 0.05, 0.0, rng)

    def width(pair: tuple[np.ndarray, np.ndarray]) -> float:
        interval = bootstrap(*pair).interval
        return interval.high - interval.low

    assert width(varying) > 1.3 * width(steady)
    assert width(many) < 0.2 * width(steady)
