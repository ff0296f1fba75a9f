"""What every format says in the same words: headings, numbers, and the lists of tests and of published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from leaderboard.claims import report as claims_report
from leaderboard.statistics.paired import Comparison, smallest_detectable
from leaderboard.tables.model import Cell, Key, Line, Mark, State, Table

BOLD = frozenset({Mark.BEST, Mark.TIED})
COUNT = "n"
"""Heading of the column that says how many seeds are behind a line."""
NOTHING = "—"


@dataclass(frozen=True)
class Listing:
    """A plain list below a table's results.

    Attributes:
        title: what it lists.
        headings: of its columns.
        numbers: those of the headings that stand over numbers, which are aligned on the right.
        rows: a text per heading.
    """

    title: str
    headings: tuple[str, ...]
    numbers: frozenset[str]
    rows: tuple[tuple[str, ...], ...]


TEST_NUMBERS = (COUNT, "diff.", "95 % interval", "p", "p Holm", "detects")


def listings(table: Table) -> Iterator[Listing]:
    """The tests behind the marks, and the published numbers; each is left out where there is none."""
    tests = tuple(_test_texts(table, column.key, found) for column in table.tests for found in column.comparisons)
    if tests:
        headings = ("column", "best vs other", *TEST_NUMBERS)
        yield Listing("Paired t-tests by seed", headings, frozenset(TEST_NUMBERS), tests)
    claims = tuple(
        (table.name_of(one.key), table.text_of(one.label), *claims_report.entry_texts(one.entry))
        for one in table.claims
    )
    if claims:
        headings = ("column", "method", *claims_report.HEADINGS)
        yield Listing("Published numbers", headings, claims_report.NUMBERS, claims)


def heading_text(table: Table, key: Key) -> str:
    """A column's heading, with its unit unless that is per cent: `AA`, `total (h)`."""
    measure = table.measure(key)
    return measure.heading if measure.unit in ("", "%") else f"{measure.heading} ({measure.unit})"


def mean_text(table: Table, key: Key, cell: Cell) -> str:
    """The mean with the decimals of its measure, or what stands in its place."""
    if cell.mean is not None:
        return f"{cell.mean:.{table.measure(key).decimals}f}"
    return f"failed ({cell.failed} of {cell.failed})" if cell.state is State.FAILED else NOTHING


def spread_text(table: Table, key: Key, cell: Cell) -> str:
    """The standard deviation with the decimals of its measure; empty where there is none."""
    return "" if cell.spread is None else f"{cell.spread:.{table.measure(key).decimals}f}"


def p_text(p: float | None) -> str:
    """A p-value with three decimals; a dash for none."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def stub_texts(table: Table, lines: Sequence[Line]) -> Iterator[tuple[str, ...]]:
    """The texts left of each line's numbers; a text that repeats the line above is empty, the last is never.

    A text repeats the line above where it and all on its left are the same there.
    """
    above: tuple[str, ...] = ()
    for line in lines:
        same = [line.stub[: i + 1] == above[: i + 1] and i < len(table.stub) - 1 for i in range(len(line.stub))]
        yield tuple("" if repeated else text for text, repeated in zip(line.stub, same, strict=True))
        above = line.stub


def letters(table: Table, footnotes: Iterable[str]) -> str:
    """The letters of some footnotes of a table: `a,c`."""
    return ",".join(table.footnotes[text] for text in footnotes)


def _test_texts(table: Table, key: Key, comparison: Comparison) -> tuple[str, ...]:
    """A comparison: names, then a text for each of `TEST_NUMBERS`; differences in the unit of the column."""
    names = (table.name_of(key), f"{table.text_of(comparison.best)} vs {table.text_of(comparison.other)}")
    test, decimals = comparison.test, table.measure(key).decimals
    if test is None:
        return (*names, NOTHING, NOTHING, NOTHING, "not tested", NOTHING, NOTHING)
    numbers = (str(test.n), f"{test.mean_difference:+.{decimals}f}")
    if comparison.undecidable:
        return (*names, *numbers, NOTHING, "no variance", NOTHING, NOTHING)
    return (
        *names,
        *numbers,
        f"[{test.low:.{decimals}f}, {test.high:.{decimals}f}]",
        p_text(test.p),
        p_text(comparison.p_adjusted),
        f"{smallest_detectable(test.n, test.sd):.{decimals}f}" if test.sd else NOTHING,
    )
