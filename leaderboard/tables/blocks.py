"""Rows that may be compared, what the tests say of them, and tables filled from them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from bench.attacks.catalogue import ATTACKS
from leaderboard.rows import Setting, attacks, believed, failed_seeds, fingerprint, scores
from leaderboard.statistics.paired import Column, Scores, compare_columns
from leaderboard.tables import notes
from leaderboard.tables.cells import cell_of, mark_of
from leaderboard.tables.model import (
    DATASET_NAMES,
    FAMILY,
    Cell,
    Cost,
    Group,
    Key,
    Line,
    Measure,
    Metric,
    Provenance,
    Table,
)

LINE = "line"
"""Column of a block's rows: to which line of its tables a row belongs."""
UNDER = "under"
"""Column of a block's rows: the protocol of its keys; empty where the lines say it."""


@dataclass(frozen=True)
class Plan:
    """A table before its numbers.

    Attributes:
        title: of the table.
        groups: headings and their columns.
        lines: without cells.
        stub: headings of the columns left of the numbers.
        measures: how metrics are headed and printed, where that is not as usual.
        remarks: sentences of its own.
    """

    title: str
    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    stub: tuple[str, ...] = ("method",)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """Rows that may be compared.

    Attributes:
        setting: what they share.
        rows: one version of each method, with the columns `LINE` and `UNDER`.
        order: its lines from top to bottom.
        older: how many rows newer ones took the place of, by (data set, `UNDER`).
    """

    setting: Setting
    rows: pd.DataFrame
    order: tuple[str, ...]
    older: Mapping[tuple[str, str], int] = field(default_factory=Counter)

    def of(self, key: Key, line: str) -> pd.DataFrame:
        """The rows of one line on one data set under one protocol."""
        found = self._places.get((key.dataset, key.protocol, line))
        return self.rows.iloc[:0] if found is None else found

    @cached_property
    def _places(self) -> Mapping[Hashable, pd.DataFrame]:
        return dict(iter(self.rows.groupby(["dataset", UNDER, LINE], sort=False)))

    @cached_property
    def columns(self) -> Mapping[Key, Scores]:
        """The numbers of each column, of the lines that no gate has failed there."""
        return {key: dict(self._believed(key)) for keys in self._keys.values() for key in keys}

    @cached_property
    def _means(self) -> Mapping[Key, Mapping[str, float]]:
        return {
            key: {line: float(values.mean()) for line, values in found.items()} for key, found in self.columns.items()
        }

    def _believed(self, key: Key) -> Iterator[tuple[str, pd.Series]]:
        for line in self.order:
            if len(rows := self.of(key, line)) and believed(rows):
                yield line, scores(rows, key.metric)

    @cached_property
    def _keys(self) -> Mapping[str, tuple[Key, ...]]:
        """All columns by the protocol that they are under."""
        found: dict[str, dict[Key, None]] = {}
        for place, rows in self.rows.groupby([UNDER, "dataset"], sort=False):
            under, dataset = map(str, place)
            keys = (*usual(rows, dataset, under), *met(rows, dataset, under))
            found.setdefault(under, {}).update(dict.fromkeys(keys))
        return {under: tuple(keys) for under, keys in found.items()}

    @cached_property
    def tests(self) -> Mapping[Key, Column[Key]]:
        """By column; the family is all SA and AA columns under one protocol, so that the layout moves no p-value."""
        columns = (
            compare_columns(
                {key: self.columns[key] for key in keys}, frozenset(key for key in keys if key.metric in FAMILY)
            )
            for keys in self._keys.values()
        )
        return {column.key: column for found in columns for column in found}

    def fill(self, plan: Plan, command: str) -> Table:
        """The table of a plan.

        Args:
            plan: what stands where.
            command: what prints the table again.
        """
        keys = [key for group in plan.groups for key in group.keys]
        rows = self._behind(plan, keys)
        table = Table(
            title=plan.title,
            setting=self.setting,
            groups=plan.groups,
            lines=tuple(self._line(line, keys) for line in plan.lines),
            tests=tuple(self.tests.get(key, Column(key, ())) for key in keys),
            notes=(),
            provenance=Provenance(command, len(rows), fingerprint(rows)),
            stub=plan.stub,
            measures=plan.measures,
        )
        older = sum(self.older[place] for place in {(key.dataset, key.protocol) for key in keys})
        said = notes.of_table(table, rows, self._family_sizes(keys), older)
        return replace(table, notes=(*said, *plan.remarks))

    def _behind(self, plan: Plan, keys: Sequence[Key]) -> pd.DataFrame:
        """All rows of a plan's lines and columns."""
        places = {(key.dataset, key.protocol): key for key in keys}.values()
        return pd.concat([self.of(key, line.label) for key in places for line in plan.lines])

    def _line(self, line: Line, keys: Sequence[Key]) -> Line:
        places = {(key.dataset, key.protocol): key for key in keys}.values()
        rows = pd.concat([self.of(key, line.label) for key in places])
        costs = all(key.metric in set(Cost) for key in keys)
        footnotes = notes.of_cost(rows, self.rows) if costs else notes.of_method(rows)
        return replace(line, cells=tuple(self._cell(key, line.label) for key in keys), footnotes=footnotes)

    def _cell(self, key: Key, line: str) -> Cell:
        rows = self.of(key, line)
        values, failed = scores(rows, key.metric), failed_seeds(rows, key.metric)
        footnotes = notes.of_failure(rows, failed, len(failed) + len(values))
        comparisons = self.tests[key].comparisons if key in self.tests else ()
        return cell_of(values, mark_of(line, comparisons, self._means.get(key, {})), len(failed), footnotes)

    def _family_sizes(self, keys: Sequence[Key]) -> Mapping[str, int]:
        """Protocol to the number of tests that were adjusted together."""
        sizes = {key.protocol: 0 for key in keys}
        for key, column in self.tests.items():
            if key.protocol in sizes:
                sizes[key.protocol] += sum(comparison.p_adjusted is not None for comparison in column.comparisons)
        return sizes


def usual(rows: pd.DataFrame, dataset: str, under: str) -> tuple[Key, ...]:
    """SA, RA, AA, with the legacy PGD-20 in the place of RA where only that was measured."""
    measured = rows[list(Metric)].notna().any()
    robust = [metric for metric in (Metric.RA, Metric.PGD) if measured[metric]] or [Metric.RA]
    return tuple(Key(dataset, under, metric) for metric in (Metric.SA, *robust, Metric.AA))


def met(rows: pd.DataFrame, dataset: str, under: str) -> tuple[Key, ...]:
    """Every attack that the rows met: by its column where it has one, else by its name."""
    names = (ATTACKS[name].metric or name if name in ATTACKS else name for name in attacks(rows))
    return tuple(Key(dataset, under, str(name)) for name in names)


def ordered_datasets(rows: pd.DataFrame, first: Sequence[str] = ()) -> list[str]:
    """Those of the rows: `first`, then as papers list them, then by name."""
    known = list(dict.fromkeys((*first, *DATASET_NAMES)))
    there = set(rows["dataset"])
    return [name for name in known if name in there] + sorted(there - set(known))


def ordered_protocols(rows: pd.DataFrame) -> list[str]:
    """What the rows' keys are under: SLF before ALF, legacy ones last."""
    legacy = set(rows.loc[rows["legacy"].astype(bool), UNDER])
    return sorted(set(rows[UNDER]), key=lambda name: (2 * (name in legacy) + (not name.startswith("slf")), name))
