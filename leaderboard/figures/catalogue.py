"""Every kind of figure, and what of the command line it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from bench.errors import BenchError
from bench.grammar import parse_spec
from leaderboard.claims.record import Record
from leaderboard.figures import (
    comparisons,
    corruptions,
    cost,
    curves,
    embedding,
    ladder,
    option,
    silhouette,
    tests,
)
from leaderboard.figures.material import Material
from leaderboard.figures.model import Figure
from leaderboard.figures.names import Kind


@dataclass(frozen=True)
class Choices:
    """What may be chosen of a figure.

    Attributes:
        metric: columns, attacks, or quantities of histories.
        option: of the methods.
        control: label of the method that the others are compared with.
    """

    metric: tuple[str, ...] = ()
    option: str | None = None
    control: str | None = None

    @classmethod
    def parse(cls, metric: str | None, option: str | None, control: str | None) -> Choices:
        """From the command line, names in their canonical spelling.

        Raises:
            BenchError: if a name cannot be read.
        """
        metrics = tuple(part.strip() for part in metric.split(",")) if metric else ()
        return cls(metrics, option, parse_spec(control).text if control else None)


@dataclass(frozen=True)
class Recipe:
    """How a kind is built.

    Attributes:
        build: the figure of the rows of a setting.
        takes: fields of `Choices` that it heeds.
        across_eps: whether rows that differ by eps belong together.
    """

    build: Callable[[Material, Choices], Figure]
    takes: frozenset[str] = frozenset()
    across_eps: bool = False

    def check(self, kind: Kind, choices: Choices) -> None:
        """Refuse what the kind would not heed.

        Raises:
            BenchError: naming it.
        """
        for field in fields(Choices):
            if getattr(choices, field.name) and field.name not in self.takes:
                raise BenchError(f"--{field.name} is no choice of `bench figure {kind}`: leave it out.")


def _by_option(material: Material, choices: Choices) -> Figure:
    if choices.option is None:
        raise BenchError("`bench figure option` needs an option of the methods: --option bank_size.")
    return option.build(material, choices.option, choices.metric, Record.shipped())


def _ladder(material: Material, choices: Choices) -> Figure:
    if len(choices.metric) > 1:
        raise BenchError("`bench figure ladder` shows one metric: --metric ra_pgd20.")
    return ladder.build(material, *choices.metric)


_TESTED = frozenset({"metric", "control"})

RECIPES: Mapping[Kind, Recipe] = {
    Kind.OPTION: Recipe(_by_option, frozenset({"metric", "option"})),
    Kind.LADDER: Recipe(_ladder, frozenset({"metric"}), across_eps=True),
    Kind.TESTS: Recipe(lambda of, chosen: tests.build(of, chosen.metric, chosen.control), _TESTED),
    Kind.COMPARISONS: Recipe(lambda of, chosen: comparisons.build(of, chosen.metric, chosen.control), _TESTED),
    Kind.COST: Recipe(lambda of, chosen: cost.build(of, chosen.metric), frozenset({"metric"})),
    Kind.CURVES: Recipe(lambda of, chosen: curves.build(of, chosen.metric), frozenset({"metric"})),
    Kind.SILHOUETTE: Recipe(lambda of, chosen: silhouette.build(of, Record.shipped())),
    Kind.CORRUPTIONS: Recipe(lambda of, chosen: corruptions.build(of)),
    Kind.EMBEDDING: Recipe(lambda of, chosen: embedding.build(of)),
}
