"""A table of numbers that are in no row: one per line, column and seed, such as a study makes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leaderboard.rows import Setting
from leaderboard.statistics.paired import Column, Scores, compare_columns
from leaderboard.tables import notes
from leaderboard.tables.cells import cell_of, mark_of
from leaderboard.tables.model import Cell, Group, Key, Line, Measure, Provenance, State, Table, title_of


@dataclass(frozen=True)
class Numbers:
    """What is to be tabulated.

    Attributes:
        columns: from left to right; in each, a line's label to its numbers by pre-training seed.
        measures: how each metric of the columns is headed and printed.
        family: columns whose p-values are adjusted together; the others keep raw ones.
        footnotes: by the label of a line.
    """

    columns: Mapping[Key, Scores]
    measures: Mapping[str, Measure]
    family: frozenset[Key] = frozenset()
    footnotes: Mapping[str, tuple[str, ...]] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the lines, from top to bottom."""
        return tuple(dict.fromkeys(label for scores in self.columns.values() for label in scores))

    def lower_is_better(self, key: Key) -> bool:
        """Which end of a column is its best."""
        return not self.measures[key.metric].higher_is_better


def from_numbers(
    numbers: Numbers,
    title: str,
    setting: Setting,
    provenance: Provenance,
    remarks: Sequence[str] = (),
    stub: str = "method",
) -> Table:
    """The table, with spread, tests and marks as tables of rows have them; a group of columns per data set.

    Args:
        numbers: what is to be tabulated.
        title, setting, provenance: of the table.
        remarks: sentences that belong below it, before those on its tests.
        stub: what the lines are.
    """
    lower = frozenset(key for key in numbers.columns if numbers.lower_is_better(key))
    tests = compare_columns(numbers.columns, numbers.family, lower)
    datasets = dict.fromkeys(key.dataset for key in numbers.columns)
    return Table(
        title=title,
        setting=setting,
        groups=tuple(Group(title_of(name), _keys(numbers, name)) for name in datasets),
        lines=tuple(_line(numbers, label, tests) for label in numbers.labels),
        tests=tests,
        notes=(_what(numbers.measures), *remarks, *_of_tests(numbers, tests)),
        provenance=provenance,
        stub=(stub,),
        measures=numbers.measures,
    )


def _keys(numbers: Numbers, dataset: str) -> tuple[Key, ...]:
    return tuple(key for key in numbers.columns if key.dataset == dataset)


def _line(numbers: Numbers, label: str, tests: Sequence[Column[Key]]) -> Line:
    by_key = {column.key: column for column in tests}
    datasets = dict.fromkeys(key.dataset for key in numbers.columns)
    keys = [key for dataset in datasets for key in _keys(numbers, dataset)]
    cells = tuple(_cell(numbers, key, label, by_key[key]) for key in keys)
    return Line(label, cells, (numbers.footnotes or {}).get(label, ()))


def _cell(numbers: Numbers, key: Key, label: str, column: Column[Key]) -> Cell:
    scores = numbers.columns[key]
    if label not in scores:
        return Cell(State.MISSING)
    means = {other: float(values.mean()) for other, values in scores.items()}
    mark = mark_of(label, column.comparisons, means, -1 if numbers.lower_is_better(key) else 1)
    return cell_of(scores[label], mark)


def _what(measures: Mapping[str, Measure]) -> str:
    units = ((one, f", in {one.unit}" if one.unit else "") for one in measures.values())
    meanings = "; ".join(f"{one.heading}: {one.meaning}{unit}" for one, unit in units)
    return f"{meanings}: mean ± sample standard deviation over n pre-training seeds."


def _of_tests(numbers: Numbers, tests: Sequence[Column[Key]]) -> tuple[str, ...]:
    adjusted = dict.fromkeys(numbers.measures[key.metric].heading for key in numbers.columns if key in numbers.family)
    raw = dict.fromkeys(numbers.measures[key.metric].heading for key in numbers.columns if key not in numbers.family)
    members = sum(comparison.p_adjusted is not None for column in tests for comparison in column.comparisons)
    return notes.of_tests(tests, list(adjusted), list(raw), [f"these {members} tests"])
