"""What a table is: cells with mean, spread and n, marks that a test stands behind, and what a reader must know.

Nothing here knows where the numbers come from or how a table is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from leaderboard.claims.record import Entry
from leaderboard.rows import Setting
from leaderboard.statistics.paired import Column, Comparison

DATASET_NAMES: Mapping[str, str] = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "stl10": "STL-10"}
"""As papers write them, in the order in which they list them."""


def title_of(name: str) -> str:
    """A data set as papers write it; any other name as it is."""
    return DATASET_NAMES.get(name, name)


def place_of(dataset: str) -> tuple[int, str]:
    """What data sets are sorted by: as papers list them, the others behind them by name."""
    known = list(DATASET_NAMES)
    return known.index(dataset) if dataset in known else len(known), dataset


class Metric(StrEnum):
    """What is measured; the values are column names of the rows."""

    SA = "sa"
    RA = "ra_pgd20"
    PGD = "pgd20"
    AA = "aa"


@dataclass(frozen=True)
class Measure:
    """How a metric is headed and printed.

    Attributes:
        heading: of its column.
        meaning: what it is the accuracy on; for other units, what it is.
        unit: of its numbers: `%`, `h`, `s`; empty for a plain number.
        decimals: with which it is printed.
        higher_is_better: which end of a column is its best.
    """

    heading: str
    meaning: str
    unit: str = "%"
    decimals: int = 2
    higher_is_better: bool = True


MEASURES: Mapping[str, Measure] = {
    Metric.SA: Measure("SA", "on clean images"),
    Metric.RA: Measure("RA", "under PGD-20 with step eps/4"),
    Metric.PGD: Measure("PGD-20", "under PGD-20 with step eps/10, which is no stand-in for RA"),
    Metric.AA: Measure("AA", "under AutoAttack standard"),
}


FURTHER: Mapping[str, Measure] = {
    "ra_worst": Measure("Worst case", "of images that withstand every one of the attacks"),
    "corruption": Measure("Corruption", "on corrupted images, the mean over 15 types and 5 severities"),
    "corruption_19": Measure("Corruption-19", "on corrupted images, the mean over 19 types and 5 severities"),
}
"""Columns of the rows that are shown where they are asked for."""


class Cost(StrEnum):
    """What pre-training cost."""

    HOURS = "hours"
    EPOCH_SECONDS = "epoch_seconds"
    PASSES = "passes"


COSTS: Mapping[str, Measure] = {
    Cost.HOURS: Measure("time", "wall time of the last stage of pre-training", "h", higher_is_better=False),
    Cost.EPOCH_SECONDS: Measure("time per epoch", "that time by its epochs", "s", higher_is_better=False),
    Cost.PASSES: Measure(
        "passes", "passes of the encoder per image over all stages", "", decimals=0, higher_is_better=False
    ),
}


def measure_of(metric: str) -> Measure:
    """How a metric is headed: a column of the rows, a cost, or an attack whose accuracy is in their `scores` alone."""
    known = {**MEASURES, **FURTHER, **COSTS}
    return known.get(metric) or Measure(metric, f"under attack {metric}")


FAMILY = frozenset({Metric.SA, Metric.AA})
"""Metrics whose tests are adjusted together; the others are secondary and keep raw p-values."""


class Mark(StrEnum):
    """What a cell is in its column."""

    NONE = "none"
    BEST = "best"
    TIED = "tied"
    """Not told apart from the best."""
    SECOND = "second"
    """The highest of those that are told apart from the best."""


class State(StrEnum):
    """What stands behind a cell."""

    OK = "ok"
    PARTIAL = "partial"
    """Some seeds failed; the numbers are of the others."""
    FAILED = "failed"
    """Every seed failed."""
    MISSING = "missing"
    """Never measured."""


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        state: what stands behind it.
        mean, spread: in the unit of the column's measure, over pre-training seeds; spread is the sample standard
            deviation, None for one seed.
        n, failed: seeds with a number, and seeds that failed.
        mark: its place in the column.
        footnotes: what holds for this number alone.
    """

    state: State
    mean: float | None = None
    spread: float | None = None
    n: int = 0
    failed: int = 0
    mark: Mark = Mark.NONE
    footnotes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """Which column: a metric, or an attack by its name, on a data set under a protocol.

    The protocol is empty where the lines of a table say it (`Line.protocol`).
    """

    dataset: str
    protocol: str
    metric: str


@dataclass(frozen=True)
class Group:
    """Columns under one heading."""

    title: str
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Line:
    """A method, or one of its variants.

    Attributes:
        label: what no other line of the table has; of a method, as on the command line.
        cells: one per column, in the order of the table's groups.
        footnotes: what holds for the method.
        stub: the texts left of the numbers, under the table's `stub`; the label where nothing else is given.
        protocol: under which all its numbers are; None where the columns say it (`Key.protocol`).
    """

    label: str
    cells: tuple[Cell, ...]
    footnotes: tuple[str, ...] = ()
    stub: tuple[str, ...] = ()
    protocol: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stub", self.stub or (self.label,))

    @property
    def seeds(self) -> str:
        """How many seeds are behind its numbers: `5`, or `3-5` where columns differ."""
        counts = {cell.n for cell in self.cells if cell.state is not State.MISSING} or {0}
        return "-".join(str(count) for count in sorted({min(counts), max(counts)}))


@dataclass(frozen=True)
class Claimed:
    """A published number beside a cell.

    Attributes:
        label: of the method.
        key: of the column.
        entry: the claim and the verdict.
    """

    label: str
    key: Key
    entry: Entry


@dataclass(frozen=True)
class Provenance:
    """Where a table's numbers come from.

    Attributes:
        command: what prints it again.
        rows: how many rows are behind it.
        rows_hash: hash of their numbers.
    """

    command: str
    rows: int
    rows_hash: str

    @property
    def text(self) -> str:
        """One line for a comment."""
        return f"{self.command}; {self.rows} row{'s' * (self.rows != 1)}, hash {self.rows_hash}"


@dataclass(frozen=True)
class Table:
    """One table, ready to be printed.

    Attributes:
        title: protocol or data set, and the setting.
        setting: what all its rows share.
        groups: headings and their columns.
        lines: methods.
        tests: the comparisons behind the marks, by column.
        notes: sentences that belong below it.
        provenance: where its numbers come from.
        claims: published numbers beside its cells, where they were asked for.
        stub: headings of the columns left of the numbers.
        measures: how metrics are headed and printed here, by name, where that is not as `measure_of` says.
    """

    title: str
    setting: Setting
    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    tests: tuple[Column[Key], ...]
    notes: tuple[str, ...]
    provenance: Provenance
    claims: tuple[Claimed, ...] = ()
    stub: tuple[str, ...] = ("method",)
    measures: Mapping[str, Measure] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[Key, ...]:
        """All columns from left to right."""
        return tuple(key for group in self.groups for key in group.keys)

    @property
    def footnotes(self) -> Mapping[str, str]:
        """Footnote to its letter, in reading order."""
        reading = (notes for line in self.lines for notes in (line.footnotes, *(cell.footnotes for cell in line.cells)))
        texts = dict.fromkeys(text for notes in reading for text in notes)
        return {text: _letters(index) for index, text in enumerate(texts)}

    @property
    def comparisons(self) -> Iterator[tuple[str, Comparison]]:
        """Every comparison, with the name of its column."""
        for column in self.tests:
            for comparison in column.comparisons:
                yield self.name_of(column.key), comparison

    def name_of(self, key: Key) -> str:
        """A column's name: `CIFAR-10 AA`."""
        [title] = {group.title for group in self.groups if key in group.keys}
        return f"{title} {self.measure(key).heading}".strip()

    def text_of(self, label: str) -> str:
        """What stands left of a line's numbers, in one: `AMOC 256 200`; a label that no line has, as it is."""
        return next((" ".join(line.stub) for line in self.lines if line.label == label), label)

    def measure(self, key: Key) -> Measure:
        """How a column is headed and printed."""
        return self.measures.get(key.metric) or measure_of(key.metric)


def _letters(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    tail = chr(ord("a") + index % 26)
    return tail if index < 26 else _letters(index // 26 - 1) + tail
