"""How much of a metric's variance comes from which seeds: a crossed random-effects analysis of variance.

Every head seed meets every encoder and every attack seed every head, so the number of a cell is

    y[p, h, a] = mean + P[p] + H[h] + A[a] + PH[p, h] + PA[p, a] + HA[h, a] + PHA[p, h, a]

with independent effects of mean 0. Their variances are estimated by equating mean squares with their expectations
(Searle, Casella and McCulloch 1992, chapter 4), intervals are generalised confidence intervals, for which effects are
taken as normal (Weerahandi 1993; Hannig, Iyer and Patterson 2006). All in float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np

LEVEL = 0.95
DRAWS = 20_000
"""Of the generalised pivots."""
_NOTHING = 1e-12  # Relative to the squared numbers: what is left of equal ones in float64.

Effect: TypeAlias = "frozenset[Factor]"
"""A main effect, or an interaction."""


class Factor(StrEnum):
    """What is seeded; the order is that of the axes of the numbers."""

    PRETRAIN = "pretrain"
    HEAD = "head"
    ATTACK = "attack"


class Source(StrEnum):
    """What varies in a repetition, from all of it to the least."""

    ALL = "everything"
    """All three seeds are new: the variance of one more run."""
    PRETRAIN = "pre-training"
    """The share that is common to all heads and attacks of an encoder."""
    HEAD = "head"
    """A head is fitted anew on the same encoder: its own effect, and that on this encoder."""
    ATTACK = "attack"
    """The same head is attacked anew."""
    REFIT = "head and attack"
    """Head fitted and attacked anew on the same encoder: what ± over head fits of one checkpoint shows."""


EFFECTS: tuple[Effect, ...] = tuple(
    frozenset(found) for size in (1, 2, 3) for found in itertools.combinations(Factor, size)
)
_OF_ATTACK = frozenset(effect for effect in EFFECTS if Factor.ATTACK in effect)
_OF_HEAD = frozenset(effect for effect in EFFECTS if Factor.HEAD in effect) - _OF_ATTACK
NEEDS: Mapping[Source, frozenset[Factor]] = {
    Source.ALL: frozenset(Factor),
    Source.PRETRAIN: frozenset({Factor.PRETRAIN}),
    Source.HEAD: frozenset({Factor.HEAD}),
    Source.ATTACK: frozenset({Factor.ATTACK}),
    Source.REFIT: frozenset({Factor.HEAD, Factor.ATTACK}),
}
"""The seeds of which there must be two or more before anything is known of a source."""
MADE_OF: Mapping[Source, frozenset[Effect]] = {
    Source.ALL: frozenset(EFFECTS),
    Source.PRETRAIN: frozenset(EFFECTS) - _OF_HEAD - _OF_ATTACK,
    Source.HEAD: _OF_HEAD,
    Source.ATTACK: _OF_ATTACK,
    Source.REFIT: _OF_HEAD | _OF_ATTACK,
}
"""The effects whose variances add up to a source's: an interaction belongs to whichever of its seeds comes last."""


@dataclass(frozen=True)
class Component:
    """A source's part of the variance, in squared units of the numbers.

    Attributes:
        raw: the unbiased estimate; may be negative where the true one is small.
        low, high: interval, cut at 0.
    """

    raw: float
    low: float
    high: float

    @property
    def variance(self) -> float:
        """The estimate, 0 where `raw` is negative."""
        return max(0.0, self.raw)

    @property
    def sd(self) -> float:
        """In the units of the numbers."""
        return math.sqrt(self.variance)

    @property
    def sd_interval(self) -> tuple[float, float]:
        """Of the standard deviation."""
        return math.sqrt(self.low), math.sqrt(self.high)


@dataclass(frozen=True)
class Split:
    """The variance of one metric by its sources.

    Attributes:
        mean: of all numbers.
        shape: seeds of pre-training, head and attack.
        components: of the sources that could be told apart: with one seed of a kind, those that need two are missing.
    """

    mean: float
    shape: tuple[int, int, int]
    components: Mapping[Source, Component]

    def share(self, source: Source) -> float | None:
        """A source's part of the whole variance, 0 .. 1; None where nothing varies or the source is not known."""
        if Source.ALL not in self.components:
            return None
        of_refit = (Source.HEAD, Source.ATTACK)
        parts = {one: self.components[one].variance for one in (Source.PRETRAIN, *of_refit)}
        whole = sum(parts.values())
        parts |= {Source.REFIT: sum(parts[one] for one in of_refit), Source.ALL: whole}
        return parts[source] / whole if whole else None


def split(numbers: np.ndarray, draws: int = DRAWS, level: float = LEVEL) -> Split:
    """Split the variance of a complete table.

    Args:
        numbers: [pretrain seeds, head seeds, attack seeds], finite.
        draws: of the pivots behind the intervals.
        level: of the intervals.
    """
    y = np.asarray(numbers, dtype=np.float64)
    squares = mean_squares(y)
    seen = {factor for factor, levels in zip(Factor, y.shape, strict=True) if levels > 1}
    pivots = _pivots(squares, draws)
    weights = {source: _weights(source, y.shape) for source in Source if NEEDS[source] <= seen}
    components = {source: _component(of, squares, pivots, level) for source, of in weights.items()}
    return Split(float(y.mean()), (y.shape[0], y.shape[1], y.shape[2]), components)


@dataclass(frozen=True)
class MeanSquare:
    """A line of the table of the analysis of variance."""

    value: float
    df: int


def mean_squares(y: np.ndarray) -> dict[Effect, MeanSquare]:
    """Those of the effects whose factors all have two levels or more; y is [P, H, A]."""
    floor = _NOTHING * float(np.abs(y).max()) ** 2
    found = {}
    for effect in EFFECTS:
        df = math.prod(y.shape[axis] - 1 for axis in _axes(effect))
        if df:
            deviations = np.broadcast_to(_effect(y, effect), y.shape)
            value = float(np.square(deviations).sum()) / df
            found[effect] = MeanSquare(value if value > floor else 0.0, df)
    return found


def _effect(y: np.ndarray, effect: Effect) -> np.ndarray:
    """Deviations of the means over all other factors, lower effects removed; [P, H, A] with 1 for the other factors."""
    for axis in range(y.ndim):
        mean = y.mean(axis=axis, keepdims=True)
        y = y - mean if axis in _axes(effect) else mean
    return y


def _axes(effect: Effect) -> tuple[int, ...]:
    return tuple(axis for axis, factor in enumerate(Factor) if factor in effect)


def _weights(source: Source, shape: tuple[int, ...]) -> dict[Effect, float]:
    """The combination of mean squares whose expectation is the source's variance; 0 of them left out.

    E MS[S] is the sum over T including S of var[T] times the levels of the factors outside T. With factors of one
    level, of which nothing can be known, left out of effects and levels, Moebius inversion gives each var[S].
    """
    seen = {factor for factor, levels in zip(Factor, shape, strict=True) if levels > 1}
    weights: dict[Effect, float] = {}
    for effect in MADE_OF[source]:
        if not effect <= seen:
            continue
        repeats = math.prod(levels for factor, levels in zip(Factor, shape, strict=True) if factor not in effect)
        for other in _including(effect, seen):
            sign = (-1) ** (len(other) - len(effect))
            weights[other] = weights.get(other, 0.0) + sign / repeats
    return {effect: weight for effect, weight in weights.items() if abs(weight) > _NOTHING}


def _including(effect: Effect, seen: set[Factor]) -> Iterator[Effect]:
    return (other for other in EFFECTS if effect <= other <= seen)


def _pivots(squares: Mapping[Effect, MeanSquare], draws: int) -> dict[Effect, np.ndarray]:
    """What the expected mean squares may be, given those found: df MS / chi2(df), [draws] each."""
    generator = np.random.default_rng(0)
    chi2 = {effect: generator.chisquare(square.df, draws) for effect, square in squares.items()}
    return {effect: square.df * square.value / chi2[effect] for effect, square in squares.items()}


def _component(
    weights: Mapping[Effect, float],
    squares: Mapping[Effect, MeanSquare],
    pivots: Mapping[Effect, np.ndarray],
    level: float,
) -> Component:
    raw = sum(weight * squares[effect].value for effect, weight in weights.items())
    drawn = np.sum([weight * pivots[effect] for effect, weight in weights.items()], axis=0)
    low, high = np.quantile(np.clip(drawn, 0.0, None), [(1 - level) / 2, (1 + level) / 2])
    return Component(raw, float(low), float(high))
