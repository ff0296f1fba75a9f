"""The split of a variance by its sources: by hand, by identities, and on simulated seeds."""

from __future__ import annotations

import numpy as np
import pytest

from leaderboard.noise.variance import Factor, Source, Split, mean_squares, split

BY_HAND = np.array([[10.0, 12.0], [14.0, 20.0]])[:, :, None]
"""Two encoders, two heads. Means 14; of encoders 11 and 17, of heads 12 and 16; interactions +-1."""


def simulated(
    sds: dict[str, float], shape: tuple[int, int, int], generator: np.random.Generator, mean: float = 50.0
) -> np.ndarray:
    """Numbers whose effects, named by the axes they vary along (`p`, `ph`, ...), have these standard deviations."""
    y = np.full(shape, mean)
    for axes, sd in sds.items():
        size = [levels if name in axes else 1 for name, levels in zip("pha", shape, strict=True)]
        y = y + sd * generator.standard_normal(size)
    return y


def test_mean_squares_by_hand() -> None:
    found = {tuple(sorted(effect)): (square.value, square.df) for effect, square in mean_squares(BY_HAND).items()}
    assert found == {("pretrain",): (36.0, 1), ("head",): (16.0, 1), ("head", "pretrain"): (4.0, 1)}


@pytest.mark.parametrize(
    ("source", "variance"),
    [
        (Source.PRETRAIN, (36 - 4) / 2),
        (Source.HEAD, (16 - 4) / 2 + 4),  # Also the mean of the heads' variances on an encoder, 2 and 18.
    ],
)
def test_components_by_hand(source: Source, variance: float) -> None:
    assert split(BY_HAND).components[source].raw == pytest.approx(variance)


def test_one_seed_of_a_kind_tells_nothing_of_it() -> None:
    found = split(BY_HAND)
    assert set(found.components) == {Source.PRETRAIN, Source.HEAD}
    assert found.share(Source.HEAD) is None


def test_the_attack_is_the_mean_variance_over_attack_seeds_of_one_head() -> None:
    y = np.random.default_rng(1).normal(50, 3, (4, 3, 5))
    assert split(y).components[Source.ATTACK].raw == pytest.approx(y.var(axis=2, ddof=1).mean())


def test_head_and_attack_together_are_a_refit() -> None:
    found = split(np.random.default_rng(2).normal(50, 3, (4, 3, 5))).components
    refit, everything = found[Source.REFIT].raw, found[Source.ALL].raw
    assert refit == pytest.approx(found[Source.HEAD].raw + found[Source.ATTACK].raw)
    assert everything == pytest.approx(found[Source.PRETRAIN].raw + refit)


def test_the_split_is_that_of_the_numbers_shifted_and_scaled() -> None:
    y = np.random.default_rng(3).normal(0, 1, (5, 4, 3))
    one, other = split(y), split(100 + 2 * y)
    for source in Source:
        assert other.components[source].raw == pytest.approx(4 * one.components[source].raw)


def test_a_negative_estimate_is_shown_as_zero_and_kept_raw() -> None:
    y = np.array([[1.0, -1.0], [-1.0, 1.0]])[:, :, None]  # An interaction and nothing else.
    component = split(y).components[Source.PRETRAIN]
    assert (component.variance, component.sd) == (0.0, 0.0)
    assert component.raw == pytest.approx(-2.0)


def test_equal_numbers_have_no_variance_and_no_shares() -> None:
    found = split(np.full((5, 5, 3), 26.5625))
    assert {component.raw for component in found.components.values()} == {0.0}
    assert found.share(Source.HEAD) is None


SDS = {"p": 3.0, "h": 1.0, "a": 0.5, "ph": 2.0, "pa": 0.0, "ha": 0.0, "pha": 1.0}
TRUE = {
    Source.PRETRAIN: 9.0,
    Source.HEAD: 1.0 + 4.0,
    Source.ATTACK: 0.25 + 1.0,
    Source.REFIT: 6.25,
    Source.ALL: 15.25,
}


@pytest.fixture(scope="module")
def splits() -> list[Split]:
    generator = np.random.default_rng(4)
    return [split(simulated(SDS, (5, 5, 3), generator), draws=1000) for _ in range(400)]


@pytest.mark.parametrize("source", Source)
def test_estimates_are_right_on_average(splits: list[Split], source: Source) -> None:
    raw = np.array([found.components[source].raw for found in splits])
    assert abs(raw.mean() - TRUE[source]) < 4 * raw.std() / len(raw) ** 0.5


@pytest.mark.parametrize("source", Source)
def test_intervals_hold_the_truth_as_often_as_they_say(splits: list[Split], source: Source) -> None:
    held = np.mean([one.low <= TRUE[source] <= one.high for one in (found.components[source] for found in splits)])
    assert held >= 0.95 - 3 * (0.95 * 0.05 / len(splits)) ** 0.5


@pytest.mark.parametrize(
    ("sds", "shares"),
    [
        ({"p": 1.0}, {Source.PRETRAIN: 1.0, Source.HEAD: 0.0, Source.ATTACK: 0.0}),
        ({"ph": 1.0}, {Source.HEAD: 1.0, Source.ATTACK: 0.0}),
        ({"pha": 1.0}, {Source.ATTACK: 1.0}),
    ],
)
def test_what_varies_alone_has_all_of_the_variance(sds: dict[str, float], shares: dict[Source, float]) -> None:
    found = split(simulated(sds, (40, 5, 3), np.random.default_rng(5)))
    for source, share in shares.items():
        assert found.share(source) == pytest.approx(share, abs=0.1)


def test_the_axes_are_the_factors_in_their_order() -> None:
    assert list(Factor) == ["pretrain", "head", "attack"]
