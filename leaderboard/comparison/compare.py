"""Two methods, or two cells, compared wherever both were judged alike: by seeds, by images, and by both together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import BenchError
from bench.store import Store
from leaderboard.comparison.pairs import Pair
from leaderboard.rows import CORRUPTED, SEEDS, WORST, by_setting, current, scores
from leaderboard.statistics import paired as st
from leaderboard.statistics import seeds as few
from leaderboard.statistics.families import Adjusted, Family, Place, adjust
from leaderboard.statistics.images import Bootstrap, McNemar, bootstrap, mcnemar
from leaderboard.tables.model import FAMILY


@dataclass(frozen=True)
class BySeed:
    """What pre-training seeds tell; every test on the seeds that both have.

    Attributes:
        test: the paired t-test.
        adjusted: its p among those of the family; None for a metric outside of it.
        effect: interval of the effect; None where the differences do not vary.
        detects: the true difference, in points, that this test finds with 80 % probability.
        needed: pairs that find the observed effect with 80 % probability; None for no effect.
        sign_flip, wilcoxon: p of the exact tests; None where so few pairs cannot reach p < .05.
        improvement: P(a > b).
        equivalence: TOST; None where the differences do not vary.
    """

    test: st.PairedTest
    adjusted: Adjusted | None
    effect: st.Interval | None
    detects: float
    needed: int | None
    sign_flip: float | None
    wilcoxon: float | None
    improvement: few.Improvement
    equivalence: few.Equivalence | None

    @property
    def told_apart(self) -> bool | None:
        """Whether seeds tell the two apart; None where every difference is the same number but 0."""
        if self.test.constant and self.test.mean_difference != 0:
            return None
        return (self.adjusted.holm if self.adjusted else self.test.p) < st.ALPHA


@dataclass(frozen=True)
class ByImage:
    """What test images tell.

    Attributes:
        mcnemar: by seed, of the two trained models as they are.
        bootstrap: over seeds and images together.
    """

    mcnemar: Mapping[int, McNemar]
    bootstrap: Bootstrap


@dataclass(frozen=True)
class Side:
    """One of the two: per cent by pre-training seed, and over them; sd None for one seed."""

    mean: float
    sd: float | None
    n: int
    by_seed: Mapping[int, float]


@dataclass(frozen=True)
class MetricResult:
    """Everything about one metric.

    Attributes:
        metric: a column, or an attack that fills none.
        a, b: the two sides.
        seeds: None where they share fewer than two.
        images: None where per-image outcomes are not there.
    """

    metric: str
    a: Side
    b: Side
    seeds: BySeed | None
    images: ByImage | None


@dataclass(frozen=True)
class Result:
    """Everything about one pair.

    Attributes:
        pair: what is compared.
        family: how many tests were adjusted together, and what they are.
        metrics: in the order of columns.
    """

    pair: Pair
    family: str
    metrics: tuple[MetricResult, ...]


@dataclass(frozen=True)
class Options:
    """How to compare.

    Attributes:
        margin: of equality, in points.
        draws: of each bootstrap.
        family: the declared one; None takes SA and AA of all data sets that are compared under a protocol.
    """

    margin: float = 0.5
    draws: int = st.DRAWS
    family: Family | None = None


def compare(frame: pd.DataFrame, pairs: Sequence[Pair], store: Store, options: Options) -> tuple[Result, ...]:
    """The results of all pairs.

    Args:
        frame: all rows, of which a declared family takes its other members.
        pairs: of `find_pairs`.
        store: where the per-image outcomes lie.
        options: how.

    Raises:
        BenchError: for a declared family that does not hold this comparison.
    """
    return tuple(_result(frame, pair, pairs, store, options) for pair in pairs)


def _result(frame: pd.DataFrame, pair: Pair, pairs: Sequence[Pair], store: Store, options: Options) -> Result:
    p_values = _family(frame, pair, pairs, options.family)
    adjusted = adjust(p_values) if len(p_values) > 1 else {}
    metrics = (_metric(pair, metric, adjusted.get(_place(pair, metric)), store, options) for metric in pair.metrics)
    return Result(pair, _family_text(p_values, options.family), tuple(metrics))


def _place(pair: Pair, metric: str) -> Place:
    return Place("", pair.dataset, pair.protocol, metric)


def _family(frame: pd.DataFrame, pair: Pair, pairs: Iterable[Pair], family: Family | None) -> dict[Place, float | None]:
    """The raw p-values that are adjusted together; those of this very comparison have no `other`."""
    if family is not None:
        return _declared(frame, pair, family)
    alike = (one for one in pairs if (one.protocol, one.settings) == (pair.protocol, pair.settings))
    found = {_place(one, metric): _p(one, metric) for one in alike for metric in one.metrics if metric in FAMILY}
    return {place: p for place, p in found.items() if p is not None}


def _p(pair: Pair, metric: str) -> float | None:
    """The p of a pair's paired t-test; None where there is none, or no variance to work with."""
    test = st.paired_t(scores(pair.a, metric), scores(pair.b, metric))
    return None if test is None or (test.constant and test.mean_difference != 0) else test.p


def _declared(frame: pd.DataFrame, pair: Pair, family: Family) -> dict[Place, float | None]:
    """The p-values of a declared family in the setting of the pair; None for what was not measured."""
    labels = {str(rows["label"].iloc[0]) for rows in (pair.a, pair.b)}
    others = labels - {family.proposed}
    members = {place for place in family.places if (place.dataset, place.protocol) == (pair.dataset, pair.protocol)}
    if len(labels) != 2 or len(others) != 1 or others.isdisjoint(place.other for place in members):
        raise BenchError(
            f"the family does not hold this comparison ({' and '.join(sorted(labels))} on {pair.dataset} under "
            f"{pair.protocol}): it compares {family.proposed} with {', '.join(family.against)} on "
            f"{', '.join(family.datasets)} under {', '.join(family.protocols)}. Write it into the family, or leave "
            f"--family out."
        )
    [own] = others
    rows = next(current(block) for setting, block in by_setting(frame) if setting == pair.settings[0])
    return {_here(place, own): _p_of_member(rows, family.proposed, place) for place in family.places}


def _here(place: Place, own: str) -> Place:
    return place._replace(other="") if place.other == own else place


def _p_of_member(rows: pd.DataFrame, proposed: str, place: Place) -> float | None:
    there = rows[rows["dataset"].eq(place.dataset) & rows["protocol"].eq(place.protocol)]
    a, b = (there[there["label"].eq(label)] for label in (proposed, place.other))
    return _p(Pair(a, b, (proposed, place.other)), place.metric)


def _family_text(p_values: Mapping[Place, float | None], family: Family | None) -> str:
    missing = sum(p is None for p in p_values.values())
    if family is not None:
        lacking = f", of which {missing} are not measured and count as p = 1" if missing else ""
        return f"the {len(p_values)} comparisons of the declared family{lacking}"
    if len(p_values) < 2:
        return "none: there is one test alone, whose p stays as it is"
    return f"the {len(p_values)} tests of SA and AA on the data sets compared here under this protocol"


def _metric(pair: Pair, metric: str, adjusted: Adjusted | None, store: Store, options: Options) -> MetricResult:
    a, b = scores(pair.a, metric), scores(pair.b, metric)
    return MetricResult(
        metric, _side(a), _side(b), _by_seed(a, b, adjusted, options), _by_image(pair, metric, store, options.draws)
    )


def _side(values: pd.Series) -> Side:
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    by_seed = {int(seed): float(value) for seed, value in zip(values.index, values, strict=True)}
    return Side(float(values.mean()), sd, len(values), by_seed)


def _by_seed(a: pd.Series, b: pd.Series, adjusted: Adjusted | None, options: Options) -> BySeed | None:
    test = st.paired_t(a, b)
    if test is None:
        return None
    return BySeed(
        test=test,
        adjusted=adjusted,
        effect=few.effect_interval(test),
        detects=st.smallest_detectable(test.n, test.sd),
        needed=few.pairs_needed(test.effect) if test.effect is not None else None,
        sign_flip=few.sign_flip(a, b),
        wilcoxon=few.wilcoxon(a, b),
        improvement=few.probability_of_improvement(a, b, options.draws),
        equivalence=few.equivalence(test, options.margin),
    )


def _by_image(pair: Pair, metric: str, store: Store, draws: int) -> ByImage | None:
    """The tests on per-image outcomes, one trained model per pre-training seed; None where some are gone.

    None for corruptions too: 75 copies of an image are not 75 images.
    """
    found = {} if metric in CORRUPTED else dict(_outcomes(pair, metric, store))
    if not found or len({outcome.shape for both in found.values() for outcome in both}) > 1:
        return None
    a, b = (np.stack([both[side] for both in found.values()]) for side in (0, 1))
    return ByImage({seed: mcnemar(*both) for seed, both in found.items()}, bootstrap(a, b, draws))


def _outcomes(pair: Pair, metric: str, store: Store) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Pre-training seed, and the outcomes of A and B: of the head and attack seeds that both have, the first.

    Two cells are paired whatever their seeds are; they go by A's.
    """
    a, b = (_stages(rows, metric, store) for rows in (pair.a, pair.b))
    if len(a) == len(b) == 1:
        a, b = ({next(iter(a)): keys for keys in side.values()} for side in (a, b))
    seen: set[int] = set()
    for seeds in sorted(a.keys() & b.keys()):
        if seeds[0] not in seen:
            seen.add(seeds[0])
            yield seeds[0], (_standing(a[seeds], store), _standing(b[seeds], store))


def _standing(stages: Sequence[str], store: Store) -> np.ndarray:
    """Which images are right after every one of the attacks."""
    standing: np.ndarray = np.logical_and.reduce([store.outcomes(key) for key in stages])
    return standing


def _stages(rows: pd.DataFrame, metric: str, store: Store) -> dict[tuple[int, ...], tuple[str, ...]]:
    """The seeds of each row, and the stages of the attacks that its metric is of; rows that lack some are left out."""
    found = {}
    for row in rows.to_dict("records"):
        stages = _attacked(row, metric, store)
        if stages and all(map(store.has, stages)):
            found[tuple(int(row[name]) for name in SEEDS)] = stages
    return found


def _attacked(row: Mapping[Any, Any], metric: str, store: Store) -> tuple[str, ...]:
    stages: Mapping[str, str] = json.loads(row["outcomes"])
    if metric == WORST:
        return tuple(stages[name] for name in json.loads(row["worst_over"]) if name in stages)
    filled = {name: store.record(key)["result"].get("metric") for name, key in stages.items() if store.has(key)}
    return tuple(stages[name] for name, column in filled.items() if (column or name) == metric)
