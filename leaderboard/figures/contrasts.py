"""Paired differences between methods, tested by seed, with p-values adjusted over all that a figure shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from bench.errors import unknown
from leaderboard.figures.material import Material, by_seed, nothing_to_draw
from leaderboard.figures.model import Along, Axis, Point, Role, Scale, Series
from leaderboard.rows import believed
from leaderboard.statistics.paired import ALPHA, PairedTest, holm, paired_t

MOST_PAIRS = 36
"""Lines of a dot plot that can still be read; more methods need a control."""
UNDECIDABLE = (
    "Where every difference is the same number a t-test has no variance to work with: no interval is drawn, and no "
    "p-value either unless that number is 0."
)
DOUBTED = "Methods of which a gate failed are left out: {}."


@dataclass(frozen=True)
class Contrast:
    """One method minus another, by one metric in one place.

    Attributes:
        a, b: labels.
        dataset, protocol, metric: where.
        test: of a - b, points.
        p_adjusted: Holm over all tests of the figure; None where every difference is the same number but 0.
    """

    a: str
    b: str
    dataset: str
    protocol: str
    metric: str
    test: PairedTest
    p_adjusted: float | None = None

    @property
    def name(self) -> str:
        """`ncp - simclr`."""
        return f"{self.a} \N{MINUS SIGN} {self.b}"

    @property
    def undecidable(self) -> bool:
        """Whether every difference is the same number but 0, which is in no family, as in tables."""
        return self.test.constant and self.test.mean_difference != 0

    @property
    def tells_apart(self) -> bool:
        """Whether the adjusted test does."""
        return self.p_adjusted is not None and self.p_adjusted < ALPHA

    def difference(self, y: float) -> Point:
        """The mean difference with its 95 % interval, on line y of a dot plot."""
        test = self.test
        ends = (None, None) if test.constant else (test.low, test.high)
        return Point(test.mean_difference, y, *ends)


def contrasts(material: Material, metrics: Sequence[str], control: str | None = None) -> tuple[Contrast, ...]:
    """Every pair that shares two seeds, or every method against the control; adjusted together.

    Args:
        material: rows of one setting.
        metrics: columns or attacks.
        control: label of the method that the others are compared with; None compares all pairs.

    Raises:
        BenchError: for an unknown control, too many pairs to be drawn, or none.
    """
    if control is not None and control not in material.labels:
        raise unknown("control (in these results)", control, material.labels)
    pairs = _pairs(material.labels, control)
    if len(pairs) > MOST_PAIRS:
        raise nothing_to_draw(
            f"{len(material.labels)} methods are {len(pairs)} pairs, and {MOST_PAIRS} can still be read",
            "name fewer (--methods ncp,amoc,acl), or compare all with one (--control simclr)",
        )
    found = [one for metric in metrics for pair in pairs for one in _tested(material, pair, metric)]
    if not found:
        raise nothing_to_draw(
            "no two methods share two seeds in one place", "run more seeds, or more methods (bench run --seeds 5)"
        )
    adjusted = iter(holm([one.test.p for one in found if not one.undecidable]))
    return tuple(one if one.undecidable else replace(one, p_adjusted=next(adjusted)) for one in found)


def family_of(found: Sequence[Contrast]) -> int:
    """How many tests were adjusted together."""
    return sum(one.p_adjusted is not None for one in found)


def _pairs(labels: Sequence[str], control: str | None) -> list[tuple[str, str]]:
    if control is None:
        return list(combinations(labels, 2))
    return [(label, control) for label in labels if label != control]


def _tested(material: Material, pair: tuple[str, str], metric: str) -> Iterator[Contrast]:
    for place in material.places:
        rows = [material.of_method(label, *place) for label in pair]
        if all(map(believed, rows)) and (test := paired_t(*(by_seed(one, metric) for one in rows))):
            yield Contrast(*pair, *place, metric, test)


def notes(material: Material, found: Sequence[Contrast]) -> Iterator[str]:
    """What is to be said of tests: how many seeds, what was left out, and of what cannot be tested."""
    counts = sorted({one.test.n for one in found})
    told = " to ".join(map(str, sorted({counts[0], counts[-1]})))
    yield (
        f"Paired t-tests by pre-training seed, two-sided, {told} seeds; bars are 95 % intervals of the mean "
        f"difference, not adjusted; Holm's adjustment is over the {family_of(found)} tests of this figure."
    )
    if any(one.test.constant for one in found):
        yield UNDECIDABLE
    doubted = [label for label in material.labels if not believed(material.rows[material.rows["label"].eq(label)])]
    if doubted:
        yield DOUBTED.format(", ".join(doubted))
    yield from material.failures


def lines_of(names: Sequence[str]) -> Axis:
    """The axis of a dot plot."""
    return Axis("", Scale.CATEGORIES, tuple(names))


def role_of(one: Contrast) -> Role:
    """Filled where the adjusted test tells the two apart."""
    return Role.MEAN if one.tells_apart else Role.OPEN


def verdict(one: Contrast, family: int) -> str:
    """What a filled or an open mark means, for the legend."""
    return f"told apart (p < {ALPHA:g} after Holm over {family} tests)" if one.tells_apart else "not told apart"


def differences(found: Sequence[Contrast], names: Sequence[str], subjects: bool, family: int) -> Iterator[Series]:
    """Mean differences with intervals, filled where Holm tells them apart.

    Args:
        found: of one panel.
        names: the lines of the plot: names of pairs, or labels.
        subjects: whether lines are labels, and have the colours of their methods.
        family: how many tests were adjusted together.
    """
    for one in found:
        y = float(names.index(one.a if subjects else one.name))
        subject = one.a if subjects else ""
        yield Series(verdict(one, family), subject, (one.difference(y),), role_of(one), intervals=Along.X)
