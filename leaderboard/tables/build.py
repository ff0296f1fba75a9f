"""Rows to tables: as they are, or in the layout of a paper's table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from leaderboard.claims.record import Record
from leaderboard.layouts import Arrangement, Layout
from leaderboard.rows import by_setting
from leaderboard.tables.arrangements import arranged, plans
from leaderboard.tables.layouts import laid_out
from leaderboard.tables.model import Table
from leaderboard.tables.paper_rows import paper_rows
from leaderboard.tables.papers import PAPERS
from leaderboard.tables.published import beside_all, beside_paper


def build(
    frame: pd.DataFrame,
    layout: Layout | Arrangement | None = None,
    order: Sequence[str] = (),
    command: str = "bench table",
    published: Record | None = None,
) -> tuple[Table, ...]:
    """The tables of some rows; two settings (schedule, limit, eps, ...) never share a table.

    Args:
        frame: result rows (`bench.schema.Row`), failed ones included.
        layout: of a paper's table; or which rows share a table: None is by data set where one of the setting was judged
            under several protocols, else by protocol.
        order: method labels from top to bottom; the rest follows as in the paper, then by name.
        command: what prints the tables again.
        published: whose numbers are to stand beside the measured ones, those of the paper's very table where its layout
            is followed; None leaves them out.

    Raises:
        BenchError: if no row belongs into the paper's table, or if the variants that it compares are only one.
    """
    if isinstance(layout, Layout):
        return tuple(_papers(frame, layout, order, command, published))
    return tuple(_arranged(frame, layout, order, command, published))


def _arranged(
    frame: pd.DataFrame, arrangement: Arrangement | None, order: Sequence[str], command: str, published: Record | None
) -> Iterator[Table]:
    for setting, rows in by_setting(frame):
        block = arranged(setting, rows, order)
        for plan in plans(block, arrangement):
            table = block.fill(plan, command)
            yield beside_all(block, table, published) if published else table


def _papers(
    frame: pd.DataFrame, layout: Layout, order: Sequence[str], command: str, published: Record | None
) -> Iterator[Table]:
    paper = PAPERS[layout]
    for material in paper_rows(frame, paper, order):
        for block, plan in laid_out(material):
            table = block.fill(plan, command)
            yield beside_paper(block, table, published, paper) if published else table
