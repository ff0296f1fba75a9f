"""What every format says in the same words: numbers, p-values, tests, claims."""

from __future__ import annotations

from collections.abc import Iterable

from leaderboard.claims import report as claims_report
from leaderboard.statistics.paired import Comparison, smallest_detectable
from leaderboard.tables.model import Cell, Claimed, Mark, State, Table

BOLD = frozenset({Mark.BEST, Mark.TIED})
TEST_HEADINGS = ("column", "best vs other", "n", "diff.", "95 % interval", "p", "p Holm", "detects")
TEST_NAMES = 2  # The first of them hold names; the rest are numbers.


def mean_text(cell: Cell) -> str:
    """The mean with two decimals, or what stands in its place."""
    if cell.mean is not None:
        return f"{cell.mean:.2f}"
    return f"failed ({cell.failed} of {cell.failed})" if cell.state is State.FAILED else "—"


def p_text(p: float | None) -> str:
    """A p-value with three decimals; a dash for none."""
    if p is None:
        return "—"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def test_texts(column: str, comparison: Comparison) -> tuple[str, ...]:
    """A comparison under `TEST_HEADINGS`; differences in points of per cent."""
    names = (column, f"{comparison.best} vs {comparison.other}")
    test = comparison.test
    if test is None:
        return (*names, "—", "—", "—", "not tested", "—", "—")
    numbers = (str(test.n), f"{test.mean_difference:+.2f}")
    if comparison.undecidable:
        return (*names, *numbers, "—", "no variance", "—", "—")
    return (
        *names,
        *numbers,
        f"[{test.low:.2f}, {test.high:.2f}]",
        p_text(test.p),
        p_text(comparison.p_adjusted),
        f"{smallest_detectable(test.n, test.sd):.2f}" if test.sd else "—",
    )


CLAIM_HEADINGS = ("column", "method", *claims_report.HEADINGS)
CLAIMS_TITLE = "Published numbers"


def claim_texts(table: Table, claimed: Claimed) -> tuple[str, ...]:
    """A published number under `CLAIM_HEADINGS`."""
    return (table.name_of(claimed.key), claimed.label, *claims_report.entry_texts(claimed.entry))


def letters(table: Table, footnotes: Iterable[str]) -> str:
    """The letters of some footnotes of a table: `a,c`."""
    return ",".join(table.footnotes[text] for text in footnotes)
