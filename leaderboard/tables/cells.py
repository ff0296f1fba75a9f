"""One number of a table: what stands behind it, and its mark. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from leaderboard.statistics.paired import Comparison
from leaderboard.tables.model import Cell, Mark, State


def cell_of(values: pd.Series, mark: Mark, failed: int = 0, footnotes: tuple[str, ...] = ()) -> Cell:
    """The cell of a number per seed.

    Args:
        values: by pre-training seed, in the unit of the column's measure.
        mark: its place in the column.
        failed: seeds that have no number because their cell failed.
        footnotes: what holds for this number alone.
    """
    if values.empty:
        return Cell(State.FAILED if failed else State.MISSING, failed=failed, footnotes=footnotes)
    return Cell(
        state=State.PARTIAL if failed else State.OK,
        mean=float(values.mean()),
        spread=float(values.std(ddof=1)) if len(values) > 1 else None,
        n=len(values),
        failed=failed,
        mark=mark,
        footnotes=footnotes,
    )


def mark_of(label: str, comparisons: Sequence[Comparison], means: Mapping[str, float], sign: int = 1) -> Mark:
    """A line's place in a column.

    Args:
        label: of the line.
        comparisons: the best of the column against each other line.
        means: by label.
        sign: -1 where lower is better.
    """
    if not any(comparison.tells_apart is not None for comparison in comparisons):
        return Mark.NONE
    if label == comparisons[0].best:
        return Mark.BEST
    if any(comparison.other == label and comparison.tells_apart is False for comparison in comparisons):
        return Mark.TIED
    behind = [comparison.other for comparison in comparisons if comparison.tells_apart]
    return Mark.SECOND if behind and label == max(behind, key=lambda other: sign * means[other]) else Mark.NONE
